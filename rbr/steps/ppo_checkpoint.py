"""PPO of one variant against its reward."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from rbr.files import write_json
from rbr.settings import RULED
from rbr.steps import common
from rbr.steps.context import Context


def reward_of(context: Context) -> Any:
    """helpful: R_rm alone; human: the human reward model alone; (human_)rbr: either and the rules."""
    from rbr.training.reward_model import RewardModel

    if context.variant in RULED:
        return common.load_reward(context)
    model = RewardModel(context.path(common.reward_parts(context.variant)["reward_model"]))

    def reward(prompts: Any, completions: Any, **_: Any) -> list[float]:
        from rbr.reward import as_conversation, as_text

        scores = model.score(
            [as_conversation(p) for p in prompts], [as_text(c) for c in completions]
        )
        return [float(score) for score in scores]

    return reward


def trained_against(context: Context) -> dict[str, str]:
    """SHA-256 of what makes the variant's reward."""
    from rbr.training.common import file_digest

    files = {"reward_model": "model.safetensors", "weights": "weights.json"}
    parts = common.reward_parts(context.variant)
    return {name: file_digest(context.path(own) / files[name]) for name, own in parts.items()}


def run(context: Context) -> dict[str, float]:
    from rbr.training.common import digest_of, file_digest
    from rbr.training.launch import launched

    settings = context.settings
    start = context.path("sft_checkpoint", context.variant)
    against = trained_against(context)
    parts = [file_digest(start / "model.safetensors"), settings.rl, settings.seed]
    parts += [against, settings.grade_noise]
    scratch = context.scratch("ppo_checkpoint", digest_of(parts))
    context.tracker.message(
        f"{settings.rl.algorithm} of {context.variant}: {settings.rl.steps} steps"
    )
    with context.output("ppo_checkpoint") as folder:
        metrics = launched("ppo_checkpoint", context, scratch, folder)
        plot_history(json.loads((folder / "history.json").read_text()), folder)
        # What it was trained against: another reward is another checkpoint, and is evaluated anew.
        write_json(folder / "reward.json", against)
        write_json(folder / "metrics.json", metrics)
    shutil.rmtree(scratch)
    return metrics


def train(context: Context, scratch: Path, folder: Path) -> dict[str, float]:
    """Train the policy into ``folder``; called in each process of the training."""
    from rbr.training.policy import train_policy

    return train_policy(
        context.path("sft_checkpoint", context.variant),
        common.prompts(context, "train"),
        common.helpful_prompts(context),
        reward_of(context),
        scratch,
        folder,
        context.settings,
        context.tracker,
    )


def plot_history(history: list[dict[str, float]], folder: Any) -> None:
    """Reward, KL and length over the rollouts."""
    figure, plots = common.axes(11, 3, 3)
    keys = ("reward", "kl", "completions/mean_length")
    for axis, key in zip(plots[0], keys, strict=True):
        axis.plot([row[key] for row in history if key in row])
        axis.set_title(key)
        axis.set_xlabel("rollout")
    common.save_plot(figure, folder / "training.png")
