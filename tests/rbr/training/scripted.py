"""A PPO training for one process or several, under ``accelerate launch``.

The tiny model is FOLDER/tiny, checkpoints lie in FOLDER/run, the log goes to FOLDER/history.json.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import zlib
from pathlib import Path

import torch
from transformers import TrainerCallback

from rbr.models.trainer import last_checkpoint, per_process
from tests.rbr.training import toy

ROWS = 8
TIMED = {"step_time", "tokens_per_second", "train_runtime", "epoch"}


def written(prompts, trainer):
    """TRL's ``rollout_func``: completions that depend on the rollout and the row alone."""
    first = trainer.accelerator.process_index * len(prompts)
    ends = trainer.processing_class.eos_token_id
    ids = []
    for row in range(first, first + len(prompts)):
        draw = torch.Generator().manual_seed(zlib.crc32(f"{trainer._step}:{row}".encode()))
        length = int(torch.randint(2, toy.LENGTH, (1,), generator=draw))
        # Every second token is one of those asked for.
        ids.append([*(10 * torch.randint(1, 20, (length,), generator=draw)).tolist(), ends])
    return {
        "prompt_ids": [trainer.processing_class(text)["input_ids"] for text in prompts],
        "completion_ids": ids,
        "logprobs": None,
    }


class Killed(TrainerCallback):
    """Ends the process as ``kill -9`` does, before an update."""

    def __init__(self, before: int) -> None:
        self._before = before

    def on_step_begin(self, args, state, control, **_) -> None:
        if state.global_step == self._before:
            os.kill(os.getpid(), signal.SIGKILL)


def history(folder: Path) -> dict[int, dict[str, float]]:
    """The figures of a finished training by update; clock times left out."""
    rows = json.loads((folder / "history.json").read_text())
    return {
        row["step"]: {name: value for name, value in row.items() if name not in TIMED}
        for row in rows
        if "reward" in row
    }


def main(folder: Path, updates: int, sampled: bool, killed: int | None) -> None:
    """Train, or resume from the last checkpoint."""
    torch.set_num_threads(1)
    # So that rounding does not hide what differs: Adam makes much of a gradient near zero.
    torch.set_default_dtype(torch.float64)
    trainer = toy.trainer_of(
        folder / "tiny",
        folder / "run",
        rollout_func=None if sampled else written,
        kl_coefficient=0.1,
        missing_eos_penalty=0.5,
        per_device_train_batch_size=per_process(ROWS, "rows"),
        num_generations=2,
        learning_rate=1e-4,
        max_grad_norm=0.5,
        max_steps=updates,
        save_strategy="steps",
        save_steps=2,
        save_total_limit=1,
    )
    if killed is not None:
        trainer.add_callback(Killed(killed))
    trainer.train(resume_from_checkpoint=last_checkpoint(folder / "run"))
    if trainer.accelerator.is_main_process:
        beside = folder / f"history.{os.getpid()}"
        beside.write_text(json.dumps(trainer.state.log_history))
        beside.rename(folder / "history.json")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("updates", type=int)
    parser.add_argument("--sampled", action="store_true", help="completions, else written ones")
    parser.add_argument("--killed", type=int, help="update that it is killed before")
    main(**vars(parser.parse_args()))
