"""What all trainings share: arguments, reporting, resuming from a checkpoint, saving the result."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_callback import ProgressCallback

from rbr.errors import DataError
from rbr.models.device import half_precision, step_device
from rbr.models.finite import FiniteGuard

logger = logging.getLogger(__name__)

PROGRESS = ("loss", "eval_loss", "eval_accuracy", "reward", "kl", "completions/mean_length")


class MetricsCallback(TrainerCallback):
    """Hands a training's log to ``record``, from the main process alone.

    A resumed training hands over its curve up to the checkpoint first.

    Args:
        record: called with metrics, named ``prefix/name``, and the step; picklable where the training
            runs in processes of its own.
    """

    def __init__(self, record: Callable[[Mapping[str, float], int], None], prefix: str) -> None:
        self._record = record
        self._prefix = prefix

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for entry in state.log_history:
            self._hand_over(state, entry, int(entry["step"]))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any, **_: Any) -> None:
        self._hand_over(state, logs, int(state.global_step))

    def _hand_over(self, state: Any, logs: Mapping[str, Any], step: int) -> None:
        if state.is_world_process_zero:
            values = {
                f"{self._prefix}/{name}": float(value)
                for name, value in logs.items()
                if isinstance(value, int | float) and name != "step"
            }
            self._record(values, step)


class ProgressLog(TrainerCallback):
    """Logs how far a training is, at most once in ``interval`` seconds."""

    def __init__(self, prefix: str, interval: float = 5.0) -> None:
        self._prefix = prefix
        self._interval = interval
        self._last = 0.0

    def on_log(self, args: Any, state: Any, control: Any, logs: Any, **_: Any) -> None:
        values = [f"{k} {logs[k]:.3f}" for k in PROGRESS if isinstance(logs.get(k), int | float)]
        due = time.monotonic() - self._last >= self._interval
        if values and state.is_world_process_zero and (due or state.global_step >= state.max_steps):
            self._last = time.monotonic()
            done = f"{state.global_step}/{state.max_steps}"
            logger.info("%s: update %s, %s", self._prefix, done, ", ".join(values))


def run_training(trainer: Any, prefix: str, callbacks: Sequence[TrainerCallback]) -> None:
    """Train, from the last checkpoint in the trainer's output folder where there is one.

    Args:
        prefix: what progress lines begin with; they take the place of Transformers' own printers.

    Raises:
        TrainingError: at the first number that is not finite, see ``FiniteGuard``.
    """
    for printer in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printer)
    for callback in (FiniteGuard(trainer, prefix), ProgressLog(prefix), *callbacks):
        trainer.add_callback(callback)
    checkpoint = last_checkpoint(Path(trainer.args.output_dir))
    if checkpoint:
        logger.info("%s: resuming from %s", prefix, Path(checkpoint).name)
    trainer.train(resume_from_checkpoint=checkpoint)


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint of a Transformers output folder, or None.

    One that a killed process was writing lacks the trainer's state, which is written last.
    """
    complete = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    newest = max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return str(newest) if newest else None


def per_process(batch: int, name: str) -> int:
    """A process's share of a batch, so that the whole is the same for any number of processes.

    Raises:
        DataError: if the batch does not divide evenly.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if batch % processes:
        raise DataError(f"{name} is {batch}: make it a multiple of the {processes} processes")
    return batch // processes


def batches(batch: int, micro_batch: int | None, name: str) -> tuple[int, int]:
    """Rows that a process works on at a time, and how many times to make its share of a batch.

    Args:
        micro_batch: the most rows at a time; None for any number.

    Raises:
        DataError: see ``per_process``; or if its share does not divide evenly either.
    """
    share = per_process(batch, name)
    rows = min(share, micro_batch or share)
    if share % rows:
        raise DataError(
            f"a process's share of {name} is {share}: no multiple of micro_batch {rows}"
        )
    return rows, share // rows


def batch_arguments(options: Any, name: str) -> dict[str, Any]:
    """``TrainingArguments`` of the batches of a training.

    Args:
        options: with ``batch_size``, ``micro_batch`` and ``gradient_checkpointing``.
        name: of ``options`` in a profile.

    Raises:
        DataError: see ``batches``.
    """
    rows, steps = batches(options.batch_size, options.micro_batch, f"{name}.batch_size")
    return {
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": steps,
        **checkpointing(options.gradient_checkpointing),
    }


def checkpointing(wanted: bool) -> dict[str, Any]:
    """``TrainingArguments`` of gradient checkpointing."""
    # The other kind gives no gradient where the first layers are frozen.
    return {
        "gradient_checkpointing": wanted,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
    }


def save_model(trainer: Any, tokenizer: Any, target: Path) -> None:
    """Write a trainer's model, gathered from all processes, by the main one."""
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.accelerator.is_main_process:
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(target, state_dict=state)
        tokenizer.save_pretrained(target)
    trainer.accelerator.wait_for_everyone()


def common_arguments(output: Path, seed: int) -> dict[str, Any]:
    """What the ``TrainingArguments`` of all trainings have in common."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    on_cpu = step_device().type == "cpu"
    return {
        "output_dir": str(output),
        # Callbacks report; the integrations of Transformers would open runs beside theirs.
        "report_to": "none",
        "disable_tqdm": True,
        "logging_strategy": "steps",
        # It would log NaN as 0.
        "logging_nan_inf_filter": False,
        "save_total_limit": 1,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": on_cpu,
        "bf16": half_precision(),
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": not on_cpu,
        "max_grad_norm": 1.0,
    }
