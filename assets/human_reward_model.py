"""Reward model of helpful and simulated human safety preferences."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("human_reward_model"))
def human_reward_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "human_reward_model")
