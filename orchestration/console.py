"""What a run says on the terminal: a line an event, with the time and the artifact."""

from __future__ import annotations

import logging
import time
from typing import Any

import dagster as dg
from rich.console import Console

console = Console(highlight=False, soft_wrap=True)


class _Lines(logging.Handler):
    """Shows what steps say; Dagster's own bookkeeping events are at a lower level."""

    def __init__(self, started: float) -> None:
        super().__init__(logging.INFO)
        self._started = started

    def emit(self, record: logging.LogRecord) -> None:
        about: dict[str, Any] = getattr(record, "dagster_meta", {})
        step = about.get("step_key") or ""
        text = about.get("orig_message") or record.getMessage()
        if record.levelno >= logging.ERROR:
            return  # told once, at the end, in one line
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        console.print(f"[dim]{minutes:3d}:{seconds:02d}[/]  [cyan]{step:<22}[/] {text}")


_started = time.monotonic()


@dg.logger(description="One line an event, for a terminal.")
def terminal(context: dg.InitLoggerContext) -> logging.Logger:
    """Dagster logger that prints through Rich."""
    logger = logging.Logger("rbr.terminal", level=logging.INFO)
    logger.addHandler(_Lines(_started))
    return logger
