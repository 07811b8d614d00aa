"""Reward model of helpful-only preferences."""

from __future__ import annotations

import random
import shutil

from rbr.data.rows import Preference
from rbr.files import write_json
from rbr.steps import common
from rbr.steps.context import Context


def train(
    context: Context,
    artifact: str,
    train_rows: list[Preference],
    heldout: dict[str, list[Preference]],
) -> dict[str, float]:
    """Train a reward model into the artifact and measure it on each held-out set."""
    from rbr.training.common import digest_of
    from rbr.training.reward_model import RewardModel, accuracy, train_reward_model

    settings = context.settings
    random.Random(settings.seed).shuffle(train_rows)
    rows = train_rows[: settings.reward_model.max_pairs]
    scratch = context.scratch(artifact, digest_of(settings.reward_model, settings.seed, rows))
    context.tracker.message(f"training on {len(rows)} pairs")
    with context.output(artifact) as folder:
        train_reward_model(
            context.path("base_model"), rows, scratch, folder, settings, context.tracker
        )
        model = RewardModel(folder)
        metrics = {"pairs": float(len(rows))}
        for name, pairs in heldout.items():
            metrics[f"heldout_accuracy{name}"] = accuracy(model, pairs)
        write_json(folder / "metrics.json", metrics)
    shutil.rmtree(scratch)
    return metrics


def run(context: Context) -> dict[str, float]:
    return train(
        context,
        "helpful_reward_model",
        common.preferences(context, "helpful_preferences", "train"),
        {"": common.preferences(context, "helpful_preferences", "validation")},
    )
