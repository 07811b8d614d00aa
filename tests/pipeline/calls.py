"""Trainings that ``launch`` starts in tests; ``python -m tests.pipeline.calls FOLDER`` launches one."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from pipeline.launch import launch
from pipeline.profile import Launch
from rbr.errors import DataError

logger = logging.getLogger("rbr.calls")


def add(left: float, right: float) -> dict[str, float]:
    logger.info("adding %g and %g", left, right)
    return {"sum": left + right, "processes": int(os.environ.get("WORLD_SIZE", "1"))}


def refuse() -> None:
    raise DataError("no prompt is short enough: raise rl.max_prompt_tokens", Path("p.yaml"))


def break_down() -> None:
    print("half of the work is done")
    raise ZeroDivisionError("by nothing")


def be_killed() -> None:
    """Die as a process does for which there is no memory."""
    print("half of the work is done", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def train_for_ever(folder: Path) -> None:
    """Leave a file named by this process, and work until it is ended."""
    (folder / f"{os.getpid()}.training").touch()
    while True:
        time.sleep(0.1)


if __name__ == "__main__":
    # Pickled by the name of this module, which is another's as it runs.
    from tests.pipeline import calls

    # As in a terminal; a test session may have been started with signals ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    folder = Path(sys.argv[1])
    launch(partial(calls.train_for_ever, folder), Launch(processes=2), 1, folder, print)
