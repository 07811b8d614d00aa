"""Reward model of helpful-only preferences."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("helpful_reward_model"))
def helpful_reward_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "helpful_reward_model")
