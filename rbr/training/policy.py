"""Policy optimisation of one variant: prompts, reward, trainer."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
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
from rbr.models.load import (
    load_causal,
    load_tokenizer,
    messages,
    prompt_text,
    taken_messages,
)
from rbr.models.trainer import common_arguments, per_process, run_training, save_model
from rbr.models.trunk import train_upper_layers
from rbr.training.options import RLOptions
from rbr.training.ppo import PPOTrainer


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
) -> dict[str, float]:
    """Train the model ``start`` and save the result to ``target``, an existing folder.

    Args:
        reward: called as TRL calls its reward functions, with ``response_type`` beside.
        checkpoints: folder from which an interrupted training resumes.
        on_samples: receives sampled completions every ``options.sample_steps`` rollouts, as rows of
            ``rollout``, ``prompt``, ``completion`` and ``reward``; called in the main process.

    Returns:
        Metrics of the first and last rollouts: reward, KL to the SFT model (nats a completion),
        length (tokens), entropy, share of finished completions and of distinct token pairs.

    Raises:
        DataError: as ``mixed_prompts`` does, of prompts within ``options.max_prompt_tokens``.
    """
    torch.manual_seed(seed)
    model = load_causal(start)
    tokenizer = load_tokenizer(start)
    trunk = train_upper_layers(model, options.trained_layers)

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
    if on_samples:
        callbacks = [*callbacks, Samples(trainer, options, on_samples)]
    run_training(trainer, options.algorithm, callbacks)
    history = [entry for entry in trainer.state.log_history if "reward" in entry]
    save_model(trainer, tokenizer, target)
    if trainer.is_world_process_zero():
        (target / "history.json").write_text(json.dumps(history, indent=1))
    return summary(history)


def algorithm(options: RLOptions, trunk: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The constructors of the trainer of ``options.algorithm`` and of its arguments.

    Args:
        trunk: number of frozen lower layers.
    """
    if options.algorithm == "ppo":
        trainer = partial(PPOTrainer, options=options, trunk_layers=trunk)
        return trainer, partial(trl.GRPOConfig, beta=0.0)
    trainer, config = {
        "grpo": (trl.GRPOTrainer, trl.GRPOConfig),
        "rloo": (trl.RLOOTrainer, trl.RLOOConfig),
    }[options.algorithm]
    return trainer, partial(config, beta=options.kl_coefficient)


def shared_arguments(options: RLOptions, checkpoints: Path, seed: int) -> dict[str, Any]:
    """Arguments of TRL's trainers that all algorithms share."""
    updates = options.mini_batches * options.epochs
    mini_batch = options.prompts_per_step // options.mini_batches
    return {
        **common_arguments(checkpoints, seed),
        "use_vllm": options.vllm is not None,
        "vllm_mode": options.vllm or "colocate",
        "vllm_server_base_url": options.vllm_server,
        "per_device_train_batch_size": per_process(
            mini_batch, "rl.prompts_per_step / rl.mini_batches"
        ),
        "steps_per_generation": options.mini_batches,
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
        "gradient_checkpointing": False,
        "shuffle_dataset": False,
    }


class Samples(TrainerCallback):
    """Hands over sampled completions with their rewards, every ``sample_steps`` rollouts."""

    COUNT = 8

    def __init__(
        self, trainer: Any, options: RLOptions, on_samples: Callable[[list[dict[str, Any]]], None]
    ) -> None:
        self._logs = trainer._logs  # TRL's record of the last rollouts
        self._on_samples = on_samples
        self._updates = options.mini_batches * options.epochs
        self._interval = options.sample_steps * self._updates

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        due = state.global_step % self._interval == 0 or state.global_step == state.max_steps
        if not (due and state.is_world_process_zero):
            return
        rewards = map(sum, zip(*self._logs["rewards"].values(), strict=True))
        rows = zip(self._logs["prompt"], self._logs["completion"], rewards, strict=True)
        self._on_samples(
            [
                {
                    "rollout": state.global_step // self._updates,
                    "prompt": read_conversation(prompt)[-1].content,
                    "completion": read_completion(completion),
                    "reward": reward,
                }
                for prompt, completion, reward in list(rows)[-self.COUNT :]
            ]
        )


def summary(history: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over the first and last tenth of a training's log."""
    names = {
        "reward": "reward",
        "kl": "kl",
        "length": "completions/mean_length",
        "finished": "completions/finished",
        "entropy": "entropy",
        "distinct": "completions/distinct",
    }
    tenth = max(1, len(history) // 10)
    metrics = {"rollouts": float(len(history))}
    for name, key in names.items():
        values = [entry[key] for entry in history if key in entry]
        if values:
            metrics[f"{name}_first"] = sum(values[:tenth]) / tenth
            metrics[f"{name}_last"] = sum(values[-tenth:]) / tenth
    return metrics
