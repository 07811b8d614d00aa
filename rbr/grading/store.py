"""The grade store: a grade is kept under what it depends on, and never computed twice.

Key: SHA-256 of (proposition text, grader identity, conversation, completion). SQLite in WAL mode:
readers and writers of several processes do not disturb each other, a kill loses at most the batch in
flight.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rbr.errors import RBRError
from rbr.grading.base import (
    Conversation,
    Grader,
    ManyGrader,
    Probabilities,
    Progress,
    Request,
)


class GradeStore:
    """Grades in one SQLite file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            # Threads (MLflow's scorers) may share a store: one at a time, by the lock.
            self._db = sqlite3.connect(
                path, timeout=60.0, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS grades (key BLOB PRIMARY KEY, p REAL)")
        except sqlite3.DatabaseError as error:
            raise RBRError(f"not a usable grade store ({error}): remove the file", path) from error

    def get(self, keys: Sequence[bytes]) -> dict[bytes, float]:
        """The grades that are there."""
        found: dict[bytes, float] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            marks = ",".join("?" * len(part))
            with self._lock:
                found.update(
                    self._db.execute(f"SELECT key, p FROM grades WHERE key IN ({marks})", part)
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
    """A grader that looks into a store first. As ``Grader`` asks.

    Only what is missing is asked for: after an edit of one proposition that proposition alone.

    Args:
        texts: proposition name -> the text that the grader judges it by.

    Attributes:
        calls: grades (of one completion by one proposition) that the grader was asked for.
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
        """See ``Grader.grade``."""
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
            work += [_Missing(own, columns) for columns, own in lacking.items()]
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
        for number, graded in self._grade_many(requests):
            missing = work[number]
            self.calls += graded.size
            # This process alone writes: a batch that was graded twice on a cluster is kept once.
            new = {
                every[i][j]: float(graded[k, c])
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
        for number, own in enumerate(requests):
            yield (
                number,
                self.grader.grade(
                    own.conversations, own.completions, propositions=own.propositions
                ),
            )


@dataclass(frozen=True)
class _Missing:
    """Grades that the store lacks: rows that lack the same columns."""

    rows: list[int]
    columns: tuple[int, ...]


def judged_text(text: str, identity: str) -> str:
    """What a grade depends on beside the completion: the proposition's text and the grader."""
    return f"{text}\x00{identity}"


def grade_keys(
    judged_by: Sequence[str], conversation: Conversation, completion: str
) -> list[bytes]:
    """The store's keys of one completion, one for each ``judged_text`` of ``judged_by``."""
    talk = json.dumps([[m.role, m.content] for m in conversation], ensure_ascii=False)
    return [
        hashlib.sha256("\x00".join((by, talk, completion)).encode()).digest() for by in judged_by
    ]
