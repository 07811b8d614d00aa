"""What each variant's policy is trained against, by digest."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("policy_reward"))
def policy_reward(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "policy_reward")
