"""What all trainings share: progress into the tracker, and going on from a checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_callback import ProgressCallback
from transformers.trainer_utils import get_last_checkpoint

from rbr.errors import DataError
from rbr.settings import Settings
from rbr.steps.context import Tracker

SHOWN = ("loss", "eval_loss", "eval_accuracy", "reward", "kl", "completions/mean_length")


def digest_of(*values: Any) -> str:
    """Digest of JSON-like values (pydantic models too): the key of unfinished work."""

    def plain(value: Any) -> Any:
        return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)

    text = json.dumps(values, sort_keys=True, default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def going_on(folder: Path, tracker: Tracker) -> str | None:
    """The checkpoint that a training goes on from, said to the tracker; None for a fresh start."""
    found = last_checkpoint(folder)
    if found:
        tracker.message(f"goes on from {Path(found).name}")
    return found


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint of a Transformers output folder, or None."""
    found = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if found and not (Path(found) / "trainer_state.json").exists():
        return None  # killed while writing it; Transformers writes the state last
    return found


def per_process(batch: int, name: str) -> int:
    """A process's share of a batch, so that the whole is the same for any number of processes.

    Raises:
        DataError: if it cannot be shared out evenly.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if batch % processes:
        raise DataError(f"{name} is {batch}: make it a multiple of the {processes} processes")
    return batch // processes


def save_model(trainer: Any, tokenizer: Any, target: Path, without: str | None = None) -> None:
    """Write a trainer's model, gathered from all processes, by the main one.

    Args:
        without: weights whose name has this are left out.
    """
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.accelerator.is_main_process:
        kept = {name: v for name, v in state.items() if not (without and without in name)}
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(target, state_dict=kept)
        tokenizer.save_pretrained(target)
    trainer.accelerator.wait_for_everyone()


class TrackerCallback(TrainerCallback):
    """Sends the trainer's logs to the tracker, names joined under ``prefix``, and says how far it is.

    Takes the place of Transformers' own progress bar and printer.
    """

    def __init__(self, tracker: Tracker, prefix: str, every: float = 5.0) -> None:
        self.tracker = tracker
        self.prefix = prefix
        self._every = every
        self._last = 0.0

    @classmethod
    def attach(cls, trainer: Any, tracker: Tracker, prefix: str) -> None:
        """Make it the trainer's only reporter."""
        for other in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(other)
        trainer.add_callback(cls(tracker, prefix))

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell the curve up to the checkpoint again: a new run of the tracker has none of it."""
        for entry in state.log_history:
            self._record(entry, int(entry["step"]))

    def _record(self, logs: Mapping[str, Any], step: int) -> None:
        values = {
            f"{self.prefix}/{name}": float(value)
            for name, value in logs.items()
            if isinstance(value, int | float) and name != "step"
        }
        self.tracker.metrics(values, step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self._record(logs or {}, int(state.global_step))
        now = time.monotonic()
        shown = [
            f"{k} {logs[k]:.3f}" for k in SHOWN if isinstance((logs or {}).get(k), int | float)
        ]
        if shown and (now - self._last >= self._every or state.global_step >= state.max_steps):
            self._last = now
            done = f"{state.global_step}/{state.max_steps}"
            self.tracker.message(f"{self.prefix}: update {done}, {', '.join(shown)}")


def common_arguments(output: Path, settings: Settings, seed_offset: int = 0) -> dict[str, Any]:
    """Arguments that every ``TrainingArguments`` of ours shares."""
    import torch

    # The run is reported through the tracker; Transformers' own integrations would open runs beside it.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    return {
        "output_dir": str(output),
        "report_to": "none",
        "disable_tqdm": True,
        "logging_strategy": "steps",
        "save_total_limit": 1,
        "seed": settings.seed + seed_offset,
        "data_seed": settings.seed + seed_offset,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "max_grad_norm": 1.0,
    }
