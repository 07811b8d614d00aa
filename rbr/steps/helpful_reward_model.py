"""Reward model of helpful-only preferences."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from rbr.data.rows import Preference
from rbr.files import write_json
from rbr.steps import common
from rbr.steps.context import Context


def pairs(context: Context) -> list[Preference]:
    return shuffled(context, common.preferences(context, "helpful_preferences", "train"))


def shuffled(context: Context, rows: list[Preference]) -> list[Preference]:
    """At most ``reward_model.max_pairs`` of the rows, in an order that the seed gives."""
    random.Random(context.settings.seed).shuffle(rows)
    return rows[: context.settings.reward_model.max_pairs]


def run(context: Context) -> dict[str, float]:
    heldout = common.preferences(context, "helpful_preferences", "validation")
    return fit(context, "helpful_reward_model", pairs(context), {"": heldout})


def train(context: Context, scratch: Path, folder: Path) -> dict[str, float]:
    """Train into ``folder``; called in each process of the training."""
    return fit_pairs(context, pairs(context), scratch, folder)


def fit_pairs(
    context: Context, rows: Sequence[Preference], scratch: Path, folder: Path
) -> dict[str, float]:
    from rbr.training.reward_model import train_reward_model

    train_reward_model(
        context.path("base_model"), rows, scratch, folder, context.settings, context.tracker
    )
    return {"pairs": float(len(rows))}


def fit(
    context: Context,
    artifact: str,
    rows: Sequence[Preference],
    heldout: dict[str, list[Preference]],
) -> dict[str, float]:
    """Train a reward model into the artifact and measure it on each held-out set."""
    from rbr.training.common import digest_of
    from rbr.training.launch import launched
    from rbr.training.reward_model import RewardModel, accuracy

    settings = context.settings
    scratch = context.scratch(artifact, digest_of(settings.reward_model, settings.seed, rows))
    context.tracker.message(f"training on {len(rows)} pairs")
    with context.output(artifact) as folder:
        metrics = launched(artifact, context, scratch, folder)
        model = RewardModel(folder)
        for name, own in heldout.items():
            metrics[f"heldout_accuracy{name}"] = accuracy(model, own)
        write_json(folder / "metrics.json", metrics)
    shutil.rmtree(scratch)
    return metrics
