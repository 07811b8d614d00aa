"""Ctrl-C is never lost, wherever it finds the program."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import dagster as dg

# Long enough to be out of the callback that swallowed the first one.
AGAIN = 0.1


def resend_swallowed_interrupts() -> None:
    """Send an interrupt again that met a destructor or the callback of a weak reference.

    Python can raise nothing out of those: it prints "Exception ignored" and goes on, and what a person
    stopped would run to its end.
    """
    sys.unraisablehook = _unraisable


def _unraisable(unraisable: Any, /) -> None:
    swallowed = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)
    if not issubclass(unraisable.exc_type, swallowed):
        sys.__unraisablehook__(unraisable)
        return
    timer = threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()
