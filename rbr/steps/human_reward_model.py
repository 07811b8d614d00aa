"""Reward model of helpful and simulated human safety preferences."""

from __future__ import annotations

from rbr.steps import common
from rbr.steps.context import Context
from rbr.steps.helpful_reward_model import train


def run(context: Context) -> dict[str, float]:
    helpful = common.preferences(context, "helpful_preferences", "train")
    human = common.preferences(context, "human_preferences", "train")
    heldout_helpful = common.preferences(context, "helpful_preferences", "validation")
    heldout_human = common.preferences(context, "human_preferences", "validation")
    return train(
        context,
        "human_reward_model",
        [*helpful, *human],
        {
            "": [*heldout_helpful, *heldout_human],
            ".helpful": heldout_helpful,
            ".human": heldout_human,
        },
    )
