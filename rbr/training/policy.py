"""Policy optimisation of one variant: prompts, reward, trainer."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import trl
from datasets import Dataset
from transformers import TrainerCallback

from rbr.data.rows import Conversation, HelpfulPrompt, PolicyPrompt
from rbr.data.turns import read_completion, read_conversation
from rbr.errors import DataError
from rbr.files import append_rows, read_log, write_rows
from rbr.models.device import reading_dtype
from rbr.models.load import (
    load_causal,
    load_tokenizer,
    messages,
    prompt_text,
    taken_messages,
)
from rbr.models.trainer import batches, checkpointing, common_arguments, run_training
from rbr.training.adapters import save_trained, train_part
from rbr.training.options import RLOptions
from rbr.training.ppo import PPOTrainer
from rbr.training.rollouts import OwnGRPOTrainer, OwnRLOOTrainer

SAMPLES = "samples.jsonl"


def mixed_prompts(
    safety: Sequence[PolicyPrompt],
    helpful: Sequence[HelpfulPrompt],
    count: int,
    options: RLOptions,
    seed: int,
    fits: Callable[[Any], bool] = lambda row: True,
) -> list[dict[str, Any]]:
    """``count`` prompts: safety ones (to answer and to refuse) and helpful ones, mixed.

    Shares are ``options.safety_share`` and, of the safety prompts, ``options.comply_share``.

    Args:
        fits: whether a prompt is short enough.

    Returns:
        Rows with ``prompt`` (chat messages) and ``response_type`` (None for helpful prompts).

    Raises:
        DataError: if there is no prompt of a kind that has a share, or none that fits.
    """
    draw = random.Random(seed)
    n_safety = count if not helpful else round(count * options.safety_share) if safety else 0
    comply = [p for p in safety if p.over_refusal]
    refuse = [p for p in safety if not p.over_refusal]
    # A policy may have prompts of one kind alone.
    n_comply = round(n_safety * options.comply_share) if comply and refuse else n_safety
    n_comply *= bool(comply)
    kinds: list[tuple[str, Sequence[Any], int]] = [
        ("safety prompts to comply with", comply, n_comply),
        ("safety prompts to refuse", refuse, n_safety - n_comply),
        ("helpful prompts", helpful, count - n_safety),
    ]
    typed: list[tuple[Conversation, str | None]] = []
    for name, every, size in kinds:
        rows = list(filter(fits, every))
        if size and not every:
            raise DataError(
                f"no {name}, but {size} are asked for: add some, or change rl.comply_share and"
                " rl.safety_share"
            )
        if size and not rows:
            raise DataError(
                f"none of the {len(every)} {name} has at most {options.max_prompt_tokens} tokens: raise"
                " rl.max_prompt_tokens"
            )
        while size > 0:
            chosen = draw.sample(rows, min(len(rows), size))
            typed += [(row.conversation, getattr(row, "response_type", None)) for row in chosen]
            size -= len(chosen)
    draw.shuffle(typed)
    return [{"prompt": messages(turns), "response_type": kind} for turns, kind in typed]


def train_policy(
    start: Path,
    safety: Sequence[PolicyPrompt],
    helpful: Sequence[HelpfulPrompt],
    reward: Callable[..., list[float]],
    checkpoints: Path,
    target: Path,
    options: RLOptions,
    seed: int,
    callbacks: Sequence[TrainerCallback] = (),
    on_samples: Callable[[list[dict[str, Any]]], None] | None = None,
    start_name: str | None = None,
) -> dict[str, float]:
    """Train the model ``start`` and save the result to ``target``, an existing folder.

    Args:
        reward: called as TRL calls its reward functions, with ``response_type`` beside.
        checkpoints: folder from which an interrupted training resumes.
        on_samples: receives sampled completions every ``options.sample_steps`` rollouts, as rows of
            ``rollout``, ``response_type``, ``prompt``, ``completion``, ``reward`` and what it is made of:
            columns that the reward gives to ``log_extra``, and of PPO ``kl``, the completion's summed log
            ratio to the SFT model in nats. Called in the main process.
        start_name: what a saved adapter names as its base model; ``start`` by default.

    Returns:
        Metrics of the first and last rollouts: reward, KL to the SFT model (nats a completion),
        length (tokens), entropy, share of finished completions and of distinct token pairs, likelihood
        (mean token log-probability under the SFT model, nats). Beside the model, ``history.json`` has all
        rollouts, and ``samples.jsonl`` the rows that ``on_samples`` receives and all others of theirs.

    Raises:
        DataError: as ``mixed_prompts`` does, of prompts within ``options.max_prompt_tokens``.
    """
    torch.manual_seed(seed)
    model = load_causal(start, dtype=reading_dtype() if options.lora else None)
    tokenizer = load_tokenizer(start)
    model, trunk = train_part(model, options.trained_layers, options.lora)

    def fits(row: PolicyPrompt | HelpfulPrompt) -> bool:
        text = prompt_text(tokenizer, row.conversation)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        return len(ids) <= options.max_prompt_tokens

    count = options.prompts_per_step // options.group_size * options.steps
    rows = mixed_prompts(safety, helpful, count, options, seed, fits)
    for row in rows:
        row["prompt"] = taken_messages(tokenizer, row["prompt"])
    make_trainer, arguments = algorithm(options, trunk)
    trainer = make_trainer(
        model=model,
        reward_funcs=reward,
        args=arguments(**shared_arguments(options, checkpoints, seed)),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    kinds = {row["prompt"][-1]["content"]: row["response_type"] for row in rows}
    kept = checkpoints / SAMPLES
    callbacks = [*callbacks, Samples(trainer, options, kinds, kept, on_samples)]
    run_training(trainer, options.algorithm, callbacks)
    history = [entry for entry in trainer.state.log_history if "reward" in entry]
    save_trained(
        trainer, tokenizer, start, start_name or str(start), options.lora is not None, target
    )
    if trainer.is_world_process_zero():
        (target / "history.json").write_text(json.dumps(history, indent=1))
        write_rows(target / SAMPLES, last_of_each(kept))
    return summary(history)


def algorithm(
    options: RLOptions, trunk: int | None
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The constructors of the trainer of ``options.algorithm`` and of its arguments.

    Args:
        trunk: number of frozen lower layers; None where the model is run whole.
    """
    if options.algorithm == "ppo":
        make_trainer = partial(PPOTrainer, options=options, trunk_layers=trunk)
        return make_trainer, partial(trl.GRPOConfig, beta=0.0)
    trainers: dict[str, tuple[Any, Any]] = {
        "grpo": (OwnGRPOTrainer, trl.GRPOConfig),
        "rloo": (OwnRLOOTrainer, trl.RLOOConfig),
    }
    trainer, config = trainers[options.algorithm]
    return trainer, partial(config, beta=options.kl_coefficient)


def shared_arguments(options: RLOptions, checkpoints: Path, seed: int) -> dict[str, Any]:
    """Arguments of TRL's trainers that all algorithms share."""
    updates = options.mini_batches * options.epochs
    mini_batch = options.prompts_per_step // options.mini_batches
    rows, steps = batches(mini_batch, options.micro_batch, "rl.prompts_per_step / rl.mini_batches")
    return {
        **common_arguments(checkpoints, seed),
        "use_vllm": options.vllm is not None,
        "vllm_mode": options.vllm or "colocate",
        "vllm_server_base_url": options.vllm_server,
        "vllm_gpu_memory_utilization": options.vllm_memory,
        "vllm_max_model_length": options.max_prompt_tokens + options.max_new_tokens,
        "vllm_enable_sleep_mode": options.vllm == "colocate" and options.vllm_sleep,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": steps,
        "steps_per_generation": options.mini_batches * steps,
        "num_iterations": options.epochs,
        "num_generations": options.group_size,
        "max_steps": options.steps * updates,
        "max_completion_length": options.max_new_tokens,
        "temperature": options.temperature,
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": updates,
        "epsilon": options.clip,
        "logging_steps": updates,
        # A multiple of the updates of a rollout: a resumed training begins with a fresh rollout.
        "save_strategy": "steps",
        "save_steps": options.save_steps * updates,
        **checkpointing(options.gradient_checkpointing),
        "shuffle_dataset": False,
    }


class Samples(TrainerCallback):
    """Keeps the completions of every ``sample_steps``-th rollout with their rewards, and hands some over."""

    SHOWN = 8

    def __init__(
        self,
        trainer: Any,
        options: RLOptions,
        kinds: Mapping[str, str | None],
        kept: Path,
        on_samples: Callable[[list[dict[str, Any]]], None] | None,
    ) -> None:
        self._logs = trainer._logs  # TRL's record of the last rollouts
        self._kinds = kinds
        self._kept = kept
        self._on_samples = on_samples
        self._updates = options.mini_batches * options.epochs
        self._interval = options.sample_steps * self._updates
        self._size = options.prompts_per_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        due = state.global_step % self._interval == 0 or state.global_step == state.max_steps
        if not (due and state.is_world_process_zero):
            return
        columns = {
            "prompt": [read_conversation(turns)[-1].content for turns in self._logs["prompt"]],
            "completion": list(map(read_completion, self._logs["completion"])),
            "reward": list(map(sum, zip(*self._logs["rewards"].values(), strict=True))),
            **self._logs["extra"],
        }
        rows = []
        for values in list(zip(*columns.values(), strict=True))[-self._size :]:
            row = dict(zip(columns, values, strict=True))
            if "contributions" in row:  # JSON text: see RuleBasedReward
                row["contributions"] = json.loads(row["contributions"])
            kind = self._kinds.get(row["prompt"])
            rollout = state.global_step // self._updates
            rows.append({"rollout": rollout, "response_type": kind, **row})
        append_rows(self._kept, rows)
        if self._on_samples:
            self._on_samples(rows[-self.SHOWN :])


def last_of_each(kept: Path) -> list[dict[str, Any]]:
    """The kept rows; of a rollout that a resumed training repeated the last ones."""
    groups: dict[int, list[dict[str, Any]]] = {}
    previous = None
    for row in read_log(kept):
        number = int(row["rollout"])
        if number != previous:
            groups[number] = []
        groups[number].append(row)
        previous = number
    return [row for number in sorted(groups) for row in groups[number]]


def summary(history: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over the first and last tenth of a training's log."""
    names = {
        "reward": "reward",
        "kl": "kl",
        "length": "completions/mean_length",
        "finished": "completions/finished",
        "entropy": "entropy",
        "distinct": "completions/distinct",
        "likelihood": "completions/likelihood",
    }
    tenth = max(1, len(history) // 10)
    metrics = {"rollouts": float(len(history))}
    for name, key in names.items():
        values = [entry[key] for entry in history if key in entry]
        if values:
            metrics[f"{name}_first"] = sum(values[:tenth]) / tenth
            metrics[f"{name}_last"] = sum(values[-tenth:]) / tenth
    return metrics
