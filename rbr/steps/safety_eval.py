"""Safety evaluation of a variant's SFT and PPO models."""

from __future__ import annotations

from rbr.steps.baseline_eval import evaluate
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    models = {
        "sft": context.path("sft_checkpoint", context.variant),
        "ppo": context.path("ppo_checkpoint", context.variant),
    }
    return evaluate(context, "safety_eval", models)
