"""Reward model of helpful and simulated human safety preferences."""

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
    inputs=("base_model", "helpful_preferences", "human_preferences"),
    settings=("reward_model",),
    kinds=("pytorch", "huggingface"),
    pool="training",
)
def human_reward_model(context: Context, output: Path) -> Mapping[str, float]:
    """Reward model of helpful and SIMULATED human safety preferences."""
    train = [
        *rows.preferences(context, "helpful_preferences", "train"),
        *rows.preferences(context, "human_preferences", "train"),
    ]
    helpful = rows.preferences(context, "helpful_preferences", "validation")
    human = rows.preferences(context, "human_preferences", "validation")
    heldout = {"": [*helpful, *human], ".helpful": helpful, ".human": human}
    return fit_reward_model(context, train, heldout, output)


@human_reward_model.gate
def expectations(context: Context) -> list[Part]:
    return accuracy_floor(context)
