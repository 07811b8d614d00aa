"""The grade store: each grade is kept under a key of all it depends on, and computed once.

Key: SHA-256 of (proposition text, grader identity, conversation, completion). SQLite in WAL mode:
readers and writers of several processes do not disturb each other, a kill loses at most the batch in
flight.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import textwrap
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rbr.data.rows import Conversation
from rbr.errors import GraderError, RBRError
from rbr.grading.base import Grader, ManyGrader, Probabilities, Progress, Request


class GradeStore:
    """Grades in one SQLite file.

    Args:
        path: the file; None for a temporary one (SQLite keeps it in memory as long as it is small).

    Raises:
        RBRError: if the file is no grade store.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            # Threads (MLflow's scorers) may share a store: one at a time, by the lock.
            self._db = sqlite3.connect(
                path or "", timeout=60.0, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS grades (key BLOB PRIMARY KEY, p REAL)")
        except sqlite3.DatabaseError as error:
            raise RBRError(f"not a usable grade store ({error}): remove the file", path) from error

    def get(self, keys: Sequence[bytes]) -> dict[bytes, float]:
        """The grades that the store has."""
        found: dict[bytes, float] = {}
        for start in range(0, len(keys), 500):
            batch = keys[start : start + 500]
            marks = ",".join("?" * len(batch))
            with self._lock:
                found.update(
                    self._db.execute(f"SELECT key, p FROM grades WHERE key IN ({marks})", batch)
                )
        return found

    def put(self, grades: dict[bytes, float]) -> None:
        """Add grades, all or none."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT OR REPLACE INTO grades VALUES (?, ?)", grades.items())
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM grades").fetchone()[0])

    def close(self) -> None:
        self._db.close()


class StoredGrader:
    """A ``Grader`` that computes only the grades that a store lacks.

    After an edit of one proposition, it grades that proposition alone.

    Args:
        texts: proposition name -> the text that a grader reads of it.

    Attributes:
        calls: grades (one completion, one proposition) that the inner grader computed.
    """

    def __init__(
        self, grader: Grader, store: GradeStore, texts: dict[str, str], batch_size: int = 256
    ) -> None:
        self.grader = grader
        self.store = store
        self.propositions = grader.propositions
        self.thresholds = grader.thresholds
        self.calls = 0
        self._batch_size = batch_size
        self._texts = texts

    def identity(self, proposition: str) -> str:
        """See ``Grader.identity``."""
        return self.grader.identity(proposition)

    def grade(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Probabilities:
        """See ``Grader.grade``.

        Raises:
            GraderError: as the grader does, or if what it returns are no probabilities.
        """
        names = self.propositions if propositions is None else tuple(propositions)
        judged_by = [judged_text(self._texts[name], self.identity(name)) for name in names]
        every: list[list[bytes]] = []
        found: dict[bytes, float] = {}
        planned: set[bytes] = set()
        work: list[_Missing] = []
        for start in range(0, len(completions), self._batch_size):
            rows = range(start, min(start + self._batch_size, len(completions)))
            every += [grade_keys(judged_by, conversations[i], completions[i]) for i in rows]
            found |= self.store.get([key for i in rows for key in every[i]])
            # Rows that lack the same propositions are graded together; the same row only once.
            lacking: dict[tuple[int, ...], list[int]] = {}
            for i in rows:
                columns = tuple(
                    j for j, key in enumerate(every[i]) if key not in found and key not in planned
                )
                if columns:
                    planned.update(every[i])
                    lacking.setdefault(columns, []).append(i)
            work += [_Missing(members, columns) for columns, members in lacking.items()]
        left = Counter(i for missing in work for i in missing.rows)
        if progress:
            progress(len(completions) - len(left), len(completions))
        requests = [
            Request(
                tuple(conversations[i] for i in missing.rows),
                tuple(completions[i] for i in missing.rows),
                tuple(names[j] for j in missing.columns),
            )
            for missing in work
        ]
        for number, grades in self._grade_many(requests):
            missing = work[number]
            _check_probabilities(requests[number], grades)
            self.calls += grades.size
            # This process alone writes: a batch that a cluster grades twice is kept once.
            new = {
                every[i][j]: float(grades[k, c])
                for k, i in enumerate(missing.rows)
                for c, j in enumerate(missing.columns)
            }
            self.store.put(new)
            found |= new
            left -= Counter(missing.rows)
            if progress:
                progress(len(completions) - len(left), len(completions))
        values = [[found[key] for key in row] for row in every]
        return np.array(values, dtype=np.float64).reshape(len(completions), len(names))

    def _grade_many(self, requests: Sequence[Request]) -> Iterator[tuple[int, Probabilities]]:
        if isinstance(self.grader, ManyGrader):
            yield from self.grader.grade_many(requests)
            return
        for number, asked in enumerate(requests):
            yield (
                number,
                self.grader.grade(
                    asked.conversations, asked.completions, propositions=asked.propositions
                ),
            )


@dataclass(frozen=True)
class _Missing:
    """Grades that the store lacks: rows that lack the same columns."""

    rows: list[int]
    columns: tuple[int, ...]


def _check_probabilities(request: Request, graded: Probabilities) -> None:
    shape = (len(request.completions), len(request.propositions))
    if graded.shape == shape:
        # Written so that NaN is wrong too.
        wrong = np.flatnonzero(~((graded >= 0) & (graded <= 1)).all(axis=1))
    else:
        wrong = np.arange(shape[0])
    if len(wrong):
        start = textwrap.shorten(request.completions[wrong[0]], 60, placeholder="…")
        raise GraderError(f"the grades of '{start}' are not {shape[1]} probabilities in [0, 1]")


def judged_text(text: str, identity: str) -> str:
    """What a grade depends on beside the completion: the proposition's text and the grader."""
    return f"{text}\x00{identity}"


def grade_keys(
    judged_by: Sequence[str], conversation: Conversation, completion: str
) -> list[bytes]:
    """The store's keys of one completion, one for each ``judged_text`` of ``judged_by``."""
    talk = json.dumps([[m.role, m.content] for m in conversation], ensure_ascii=False)
    # Half a character (a lone surrogate), which plain UTF-8 refuses, may stand in a trace.
    return [
        hashlib.sha256("\x00".join((by, talk, completion)).encode(errors="surrogatepass")).digest()
        for by in judged_by
    ]
