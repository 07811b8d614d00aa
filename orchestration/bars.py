"""The libraries' own progress bars, which are for a terminal alone."""

from __future__ import annotations

import os
import sys

# As they are read when the libraries are imported.
OFF = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}


def hide_bars(always: bool = False) -> None:
    """Hide them and the libraries' notes, before they are imported, unless stderr is a terminal.

    Args:
        always: on a terminal too, where a command shows progress of its own.
    """
    if always or not sys.stderr.isatty():
        for name, value in OFF.items():
            os.environ.setdefault(name, value)
