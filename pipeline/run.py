"""Where an artifact's body reports to while it works."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol


class Run(Protocol):
    """The record of one artifact being made (an MLflow run, or nothing).

    It is picklable: a training in other processes reports to the same run.
    """

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics, over ``step`` where given."""

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Record a table of sample rows."""

    def prompts(
        self, role: str, templates: Mapping[str, Any], identities: Mapping[str, str]
    ) -> None:
        """Record what the grader or the judge asks of each proposition, and its identity for each."""

    def log(self, text: str) -> None:
        """Log what is being done."""


class NoRun:
    """Records nothing."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        pass

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        pass

    def prompts(
        self, role: str, templates: Mapping[str, Any], identities: Mapping[str, str]
    ) -> None:
        pass

    def log(self, text: str) -> None:
        pass


def progress(run: Run, task: str, every: float = 10.0) -> Callable[[int, int], None]:
    """A callback of (done, total) that logs ``task: done/total``, at most once in ``every`` seconds."""
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= every or done == total:
            last = now
            run.log(f"{task}: {done}/{total}")

    return report


class _LogLines(logging.Handler):
    """Passes what ``rbr`` logs to a function."""

    def __init__(self, log: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log(record.getMessage())


@contextmanager
def library_log(log: Callable[[str], None]) -> Iterator[None]:
    """Pass on what ``rbr`` logs while the block runs."""
    handler, logger = _LogLines(log), logging.getLogger("rbr")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
