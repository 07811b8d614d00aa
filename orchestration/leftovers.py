"""Processes that outlive what started them, recognised by a variable of their environment."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil


def kill_marked(**mark: str) -> None:
    """Kill all other processes whose environment has these variables.

    Children inherit the mark, also those that a training keeps in a session of their own.
    """
    marked = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and mark.items() <= process.environ().items():
                process.kill()
                marked.append(process)
    psutil.wait_procs(marked, timeout=20)
