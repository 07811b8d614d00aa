"""The process of one artifact, where several are made at a time.

It is a fork of one that imported this module, and with it the libraries that most bodies use.
"""

from __future__ import annotations

import multiprocessing
import os
import threading

# mlflow and great_expectations: seconds each, as torch and transformers.
import great_expectations  # noqa: F401
import torch
import transformers  # noqa: F401

import mlflow  # noqa: F401
from pipeline.launch import cores
from pipeline.profile import Settings


def enter(settings: Settings) -> None:
    """Take a share of the cores, and end when the run's process ends, however it ends.

    A run that was killed would else go on making artifacts, beside the one that is started in its place.
    """
    torch.set_num_threads(cores(settings.launch))
    run = multiprocessing.parent_process()
    if run is None:
        return

    def follow() -> None:
        run.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
