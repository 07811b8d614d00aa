"""The process of one artifact, where several are made at a time.

It is a fork of one that imported this module: the libraries that most bodies use take seconds each to
import, and so do the digests of the code.
"""

from __future__ import annotations

import multiprocessing
import os
import threading

import dvc.repo  # noqa: F401
import great_expectations  # noqa: F401
import torch
import transformers  # noqa: F401

import mlflow  # noqa: F401
from orchestration.code_digests import code_digests
from pipeline.launch import cores
from pipeline.profile import Settings

code_digests()


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
