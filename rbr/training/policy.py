"""Policy optimisation of one variant: prompts, reward, trainer."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback

from rbr.data.rows import HelpfulPrompt, PolicyPrompt
from rbr.errors import DataError
from rbr.models.load import load_causal, load_tokenizer, messages, prompt_text
from rbr.models.trunk import train_upper_layers
from rbr.reward import as_conversation, as_text
from rbr.settings import RL, Settings
from rbr.steps.context import Tracker
from rbr.training.common import TrackerCallback, common_arguments, going_on, per_process, save_model
from rbr.training.ppo import PPOConfig, PPOTrainer


def mixed_prompts(
    safety: Sequence[PolicyPrompt],
    helpful: Sequence[HelpfulPrompt],
    count: int,
    settings: RL,
    seed: int,
) -> list[dict[str, Any]]:
    """``count`` prompts: safety ones (to answer and to refuse) and helpful ones, mixed.

    Shares are ``settings.safety_share`` and, of the safety prompts, ``settings.comply_share``.

    Returns:
        Rows with ``prompt`` (chat messages) and ``response_type`` (None for helpful prompts).
    """
    draw = random.Random(seed)

    def cycle(rows: Sequence[Any], size: int) -> list[Any]:
        chosen: list[Any] = []
        while len(chosen) < size and rows:
            chosen.extend(draw.sample(list(rows), min(len(rows), size - len(chosen))))
        return chosen

    n_safety = count if not helpful else round(count * settings.safety_share) if safety else 0
    comply = [p for p in safety if p.response_type == "comply"]
    refuse = [p for p in safety if p.response_type != "comply"]
    n_comply = round(n_safety * settings.comply_share)
    rows = [
        {"prompt": messages(p.conversation), "response_type": p.response_type}
        for p in [*cycle(comply, n_comply), *cycle(refuse, n_safety - n_comply)]
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
        options,
        settings.seed,
    )
    if len(rows) < prompts * options.steps:
        raise DataError(
            f"no prompt has at most {options.max_prompt_tokens} tokens: raise rl.max_prompt_tokens"
        )
    trainer_class, arguments = algorithm(options, trunk)
    trainer = trainer_class(
        model=model,
        reward_funcs=reward,
        args=arguments(**shared_arguments(scratch, settings)),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    TrackerCallback.attach(trainer, tracker, options.algorithm)
    trainer.add_callback(Samples(trainer, tracker, options))
    trainer.train(resume_from_checkpoint=going_on(scratch, tracker))
    history = [entry for entry in trainer.state.log_history if "reward" in entry]
    save_model(trainer, tokenizer, target, without="value_head")
    (target / "history.json").write_text(json.dumps(history, indent=1))
    return summary(history)


def algorithm(options: RL, trunk: int) -> tuple[Any, Callable[..., Any]]:
    """The trainer of ``options.algorithm`` and what makes its arguments.

    Args:
        trunk: frozen lower layers.
    """
    if options.algorithm == "ppo":
        own: dict[str, Any] = {
            "kl_coefficient": options.kl_coefficient,
            "kl_target": options.kl_target,
            "max_kl": options.max_kl,
            "gamma": options.gamma,
            "gae_lambda": options.gae_lambda,
            "value_clip": options.value_clip,
            "value_coefficient": options.value_coefficient,
            "value_learning_rate": options.value_learning_rate,
            "missing_eos_penalty": options.missing_eos_penalty,
            "trunk_layers": trunk,
        }
        return PPOTrainer, partial(PPOConfig, beta=0.0, **own)
    if options.algorithm == "grpo":
        from trl import GRPOConfig, GRPOTrainer

        return GRPOTrainer, partial(GRPOConfig, beta=options.kl_coefficient)
    from trl import RLOOConfig, RLOOTrainer

    return RLOOTrainer, partial(RLOOConfig, beta=options.kl_coefficient)


def shared_arguments(scratch: Path, settings: Settings) -> dict[str, Any]:
    """Arguments of TRL's trainers that all algorithms share."""
    options = settings.rl
    updates = options.mini_batches * options.epochs
    mini_batch = options.prompts_per_step // options.mini_batches
    share = per_process(mini_batch, "rl.prompts_per_step / rl.mini_batches")
    generation: dict[str, Any] = {}
    if options.vllm:
        generation = {"use_vllm": True, "vllm_mode": options.vllm}
        if options.vllm == "server":
            generation["vllm_server_base_url"] = options.vllm_server
    return {
        **common_arguments(scratch, settings),
        **generation,
        "per_device_train_batch_size": share,
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


class Samples(TrainerCallback):
    """Tables of sampled completions with their rewards, every ``sample_steps`` rollouts."""

    SHOWN = 8

    def __init__(self, trainer: Any, tracker: Tracker, options: RL) -> None:
        self._logs = trainer._logs  # TRL's own record of the last rollouts
        self._tracker = tracker
        self._updates = options.mini_batches * options.epochs
        self._every = options.sample_steps * self._updates

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self._every and state.global_step != state.max_steps:
            return
        rewards = [sum(parts) for parts in zip(*self._logs["rewards"].values(), strict=True)]
        rows = zip(self._logs["prompt"], self._logs["completion"], rewards, strict=True)
        self._tracker.table(
            "samples",
            [
                {
                    "rollout": state.global_step // self._updates,
                    "prompt": as_conversation(prompt)[-1].content,
                    "completion": as_text(completion),
                    "reward": reward,
                }
                for prompt, completion, reward in list(rows)[-self.SHOWN :]
            ],
        )


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
