"""Reward model of helpful-only preferences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.gates import Part
from pipeline.reward_models import accuracy_floor, fit_reward_model


@artifact(
    folder="models",
    group="rewards",
    inputs=("base_model", "helpful_preferences"),
    settings=("reward_model",),
    kinds=("pytorch", "huggingface"),
    pool="training",
)
def helpful_reward_model(context: Context, output: Path) -> Mapping[str, float]:
    """Reward model of helpful-only preferences: R_rm."""
    train = rows.preferences(context, "helpful_preferences", "train")
    heldout = rows.preferences(context, "helpful_preferences", "validation")
    return fit_reward_model(context, train, {"": heldout}, output)


@helpful_reward_model.gate
def expectations(context: Context) -> list[Part]:
    return accuracy_floor(context)
