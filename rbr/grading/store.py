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
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rbr.data.rows import Conversation
from rbr.errors import GraderError, RBRError
from rbr.grading.base import Graded, Grader, Probabilities, Progress, Request, graded_with_reasons
from rbr.scale.batches import run_batches

if TYPE_CHECKING:
    from rbr.scale.options import ClusterOptions

# SQLite keeps NaN as NULL: neither it nor an infinity is between 0 and 1.
USABLE = "p BETWEEN 0 AND 1"


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
            # Beside the grades: a store that was made without reasons stays as it is.
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS reasons (key BLOB PRIMARY KEY, reason TEXT)"
            )
        except sqlite3.DatabaseError as error:
            raise RBRError(f"not a usable grade store ({error}): remove the file", path) from error

    def get(self, keys: Sequence[bytes]) -> dict[bytes, float]:
        """The grades that the store has; one that is no probability counts as missing."""
        return self._select("SELECT key, p FROM grades WHERE key IN ({}) AND " + USABLE, keys)

    def reasons(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """The reasons that the store has of grades."""
        return self._select("SELECT key, reason FROM reasons WHERE key IN ({})", keys)

    def _select(self, query: str, keys: Sequence[bytes]) -> dict[bytes, Any]:
        found: dict[bytes, Any] = {}
        for start in range(0, len(keys), 500):
            batch = keys[start : start + 500]
            marks = ",".join("?" * len(batch))
            with self._lock:
                found.update(self._db.execute(query.format(marks), batch))
        return found

    def put(self, grades: dict[bytes, float], reasons: Mapping[bytes, str] | None = None) -> None:
        """Add grades with their reasons, all or none.

        Raises:
            GraderError: if one is no probability.
        """
        wrong = [p for p in grades.values() if not 0 <= p <= 1]
        if wrong:
            raise GraderError(f"{wrong[0]} is no probability: the grade store keeps none of these")
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT OR REPLACE INTO grades VALUES (?, ?)", grades.items())
                # Half a character, which SQLite refuses, may stand in what a model quotes.
                rows = [
                    (k, r.encode(errors="replace").decode()) for k, r in (reasons or {}).items()
                ]
                self._db.executemany("INSERT OR REPLACE INTO reasons VALUES (?, ?)", rows)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def __len__(self) -> int:
        query = f"SELECT count(*) FROM grades WHERE {USABLE}"
        return int(self._db.execute(query).fetchone()[0])

    def close(self) -> None:
        self._db.close()


class StoredGrader:
    """A ``Grader`` that computes only the grades that a store lacks.

    After an edit of one proposition, it grades that proposition alone.

    Args:
        texts: proposition name -> the text that a grader reads of it.
        batch_size: completions that are graded and stored together.
        scale: with an ``address``, the missing grades are computed by the workers of a cluster, each
            with its own copy of the grader: hand over one that has not loaded its model.

    Attributes:
        calls: grades (one completion, one proposition) that the inner grader computed.
    """

    def __init__(
        self,
        grader: Grader,
        store: GradeStore,
        texts: dict[str, str],
        batch_size: int = 256,
        scale: ClusterOptions | None = None,
    ) -> None:
        self.grader = grader
        self.store = store
        self.propositions = grader.propositions
        self.thresholds = grader.thresholds
        self.calls = 0
        self._batch_size = batch_size
        self._scale = scale
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
        return self._grade(conversations, completions, progress, propositions)[0]

    def grade_with_reasons(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Graded:
        """See ``Graded``; the reasons are those of the store."""
        p, every = self._grade(conversations, completions, progress, propositions)
        reasons = self.store.reasons([key for row in every for key in row])
        return Graded(p, [[reasons.get(key, "") for key in row] for row in every])

    def _grade(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None,
        propositions: Sequence[str] | None,
    ) -> tuple[Probabilities, list[list[bytes]]]:
        """Grades, and the keys that the store has them under."""
        names = self.propositions if propositions is None else tuple(propositions)
        judged_by = [judged_text(self._texts[name], self.identity(name)) for name in names]
        every = [
            grade_keys(judged_by, turns, text)
            for turns, text in zip(conversations, completions, strict=True)
        ]
        found = self.store.get([key for row in every for key in row])
        missing = _missing(every, found, self._batch_size)
        requests = [
            Request(
                tuple(conversations[i] for i in rows),
                tuple(completions[i] for i in rows),
                tuple(names[j] for j in columns),
            )
            for rows, columns in missing
        ]
        done = len(every) - sum(len(rows) for rows, _ in missing)
        if progress:
            progress(done, len(every))
        for number, grades in run_batches(partial(_worker, self.grader), requests, self._scale):
            rows, columns = missing[number]
            probabilities = grades.probabilities
            _check_probabilities(requests[number], probabilities)
            self.calls += probabilities.size
            # This process alone writes: a batch that a cluster grades twice is kept once.
            new = {
                every[i][j]: float(probabilities[k, c])
                for k, i in enumerate(rows)
                for c, j in enumerate(columns)
            }
            reasons = {
                every[i][j]: grades.reasons[k][c]
                for k, i in enumerate(rows)
                for c, j in enumerate(columns)
                if grades.reasons[k][c]
            }
            self.store.put(new, reasons)
            found |= new
            done += len(rows)
            if progress:
                progress(done, len(every))
        values = [[found[key] for key in row] for row in every]
        return np.array(values, dtype=np.float64).reshape(len(every), len(names)), every


def _worker(grader: Grader) -> Callable[[Request], Graded]:
    """Grades requests, in this process or as an actor of a cluster."""
    return lambda request: graded_with_reasons(
        grader, request.conversations, request.completions, None, request.propositions
    )


def _missing(
    every: Sequence[Sequence[bytes]], found: dict[bytes, float], size: int
) -> list[tuple[list[int], tuple[int, ...]]]:
    """Rows that lack the same columns, and these: graded together; the same row only once.

    Args:
        every: keys of each row.
        size: rows that are looked at together.
    """
    planned = set(found)
    missing = []
    for start in range(0, len(every), size):
        lacking: dict[tuple[int, ...], list[int]] = {}
        for i, keys in enumerate(every[start : start + size], start):
            columns = tuple(j for j, key in enumerate(keys) if key not in planned)
            if columns:
                planned.update(keys)
                lacking.setdefault(columns, []).append(i)
        missing += [(rows, columns) for columns, rows in lacking.items()]
    return missing


def _check_probabilities(request: Request, grades: Probabilities) -> None:
    shape = (len(request.completions), len(request.propositions))
    if grades.shape == shape:
        # Written so that NaN is wrong too.
        wrong = np.flatnonzero(~((grades >= 0) & (grades <= 1)).all(axis=1))
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
    turns = json.dumps([[m.role, m.content] for m in conversation], ensure_ascii=False)
    # Half a character (a lone surrogate), which plain UTF-8 refuses, may stand in a trace.
    return [
        hashlib.sha256("\x00".join((by, turns, completion)).encode(errors="surrogatepass")).digest()
        for by in judged_by
    ]
