"""Policy optimisation of one variant: prompts, reward, trainer."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from rbr.data.rows import HelpfulPrompt, PolicyPrompt
from rbr.errors import DataError
from rbr.models.load import load_causal, load_tokenizer, messages, prompt_text
from rbr.models.trunk import train_upper_layers
from rbr.settings import Settings
from rbr.steps.context import Tracker
from rbr.training.common import TrackerCallback, common_arguments, going_on
from rbr.training.ppo import PPOConfig, PPOTrainer


def mixed_prompts(
    safety: Sequence[PolicyPrompt],
    helpful: Sequence[HelpfulPrompt],
    count: int,
    safety_share: float,
    seed: int,
    comply_share: float = 0.5,
) -> list[dict[str, Any]]:
    """``count`` prompts: safety ones (``comply_share`` to be complied with) and helpful ones, mixed.

    Returns:
        Rows with ``prompt`` (chat messages) and ``response_type`` (None for helpful prompts).
    """
    draw = random.Random(seed)

    def cycle(rows: Sequence[Any], size: int) -> list[Any]:
        chosen: list[Any] = []
        while len(chosen) < size and rows:
            chosen.extend(draw.sample(list(rows), min(len(rows), size - len(chosen))))
        return chosen

    n_safety = count if not helpful else round(count * safety_share) if safety else 0
    comply = [p for p in safety if p.response_type == "comply"]
    refuse = [p for p in safety if p.response_type != "comply"]
    n_refuse = int(n_safety * (1 - comply_share))
    rows = [
        {"prompt": messages(p.conversation), "response_type": p.response_type}
        for p in [*cycle(comply, n_safety - n_refuse), *cycle(refuse, n_refuse)]
    ]
    rows += [
        {"prompt": messages(p.conversation), "response_type": None}
        for p in cycle(helpful, count - n_safety)
    ]
    draw.shuffle(rows)
    return rows


def train_policy(
    start: Path,
    safety: Sequence[PolicyPrompt],
    helpful: Sequence[HelpfulPrompt],
    reward: Callable[..., list[float]],
    scratch: Path,
    target: Path,
    settings: Settings,
    tracker: Tracker,
) -> dict[str, float]:
    """Train and save to ``target`` (an existing folder); goes on from ``scratch``.

    Returns:
        Metrics of the first and last rollouts: reward, KL to the SFT model (nats a completion),
        length (tokens), entropy, share of finished completions and of distinct token pairs.
    """
    options = settings.rl
    torch.manual_seed(settings.seed)
    model = load_causal(start)
    tokenizer = load_tokenizer(start)
    trunk = train_upper_layers(model, options.trained_layers)

    def fits(row: PolicyPrompt | HelpfulPrompt) -> bool:
        text = prompt_text(tokenizer, row.conversation)
        return len(tokenizer(text)["input_ids"]) <= options.max_prompt_tokens

    prompts = options.prompts_per_step // options.group_size
    rows = mixed_prompts(
        [p for p in safety if fits(p)],
        [p for p in helpful if fits(p)],
        prompts * options.steps,
        options.safety_share,
        settings.seed,
        options.comply_share,
    )
    if len(rows) < prompts * options.steps:
        raise DataError(
            f"no prompt has at most {options.max_prompt_tokens} tokens: raise rl.max_prompt_tokens"
        )
    updates = options.mini_batches * options.epochs
    shared: dict[str, Any] = {
        **common_arguments(scratch, settings),
        "per_device_train_batch_size": options.prompts_per_step // options.mini_batches,
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
        # A multiple of the updates of a rollout: a resumed run then begins with a fresh rollout.
        "save_strategy": "steps",
        "save_steps": options.save_steps * updates,
        "gradient_checkpointing": False,
        "shuffle_dataset": False,
    }
    common: dict[str, Any] = {
        "model": model,
        "reward_funcs": reward,
        "train_dataset": Dataset.from_list(rows),
        "processing_class": tokenizer,
    }
    trainer: Any
    if options.algorithm == "ppo":
        trainer = PPOTrainer(
            args=PPOConfig(
                **shared,
                beta=0.0,
                loss_type="bnpo",
                kl_coefficient=options.kl_coefficient,
                gamma=options.gamma,
                gae_lambda=options.gae_lambda,
                value_clip=options.value_clip,
                value_coefficient=options.value_coefficient,
                value_learning_rate=options.value_learning_rate,
                missing_eos_penalty=options.missing_eos_penalty,
                trunk_layers=trunk,
            ),
            **common,
        )
    elif options.algorithm == "grpo":
        from trl import GRPOConfig, GRPOTrainer

        trainer = GRPOTrainer(args=GRPOConfig(**shared, beta=options.kl_coefficient), **common)
    else:
        from trl import RLOOConfig, RLOOTrainer

        trainer = RLOOTrainer(args=RLOOConfig(**shared, beta=options.kl_coefficient), **common)
    TrackerCallback.attach(trainer, tracker, options.algorithm)
    trainer.train(resume_from_checkpoint=going_on(scratch, tracker))
    history = [entry for entry in trainer.state.log_history if "reward" in entry]
    if hasattr(model, "value_head"):
        del model.value_head
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    (target / "history.json").write_text(json.dumps(history, indent=1))
    return summary(history)


def summary(history: Sequence[dict[str, float]]) -> dict[str, float]:
    """First and last tenth of a training's log, averaged."""
    names = {
        "reward": "reward",
        "kl": "kl",
        "length": "completions/mean_length",
        "finished": "completions/finished",
        "entropy": "entropy",
        "distinct": "completions/distinct",
    }
    part = max(1, len(history) // 10)
    metrics = {"rollouts": float(len(history))}
    for name, key in names.items():
        values = [entry[key] for entry in history if key in entry]
        if values:
            metrics[f"{name}_first"] = sum(values[:part]) / part
            metrics[f"{name}_last"] = sum(values[-part:]) / part
    return metrics
