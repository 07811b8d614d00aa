"""Reward model of helpful and simulated human safety preferences."""

from __future__ import annotations

from pathlib import Path

from rbr.data.rows import Preference
from rbr.steps import common
from rbr.steps.context import Context
from rbr.steps.helpful_reward_model import fit, fit_pairs, shuffled


def pairs(context: Context) -> list[Preference]:
    helpful = common.preferences(context, "helpful_preferences", "train")
    human = common.preferences(context, "human_preferences", "train")
    return shuffled(context, [*helpful, *human])


def run(context: Context) -> dict[str, float]:
    helpful = common.preferences(context, "helpful_preferences", "validation")
    human = common.preferences(context, "human_preferences", "validation")
    heldout = {"": [*helpful, *human], ".helpful": helpful, ".human": human}
    return fit(context, "human_reward_model", pairs(context), heldout)


def train(context: Context, scratch: Path, folder: Path) -> dict[str, float]:
    """Train into ``folder``; called in each process of the training."""
    return fit_pairs(context, pairs(context), scratch, folder)
