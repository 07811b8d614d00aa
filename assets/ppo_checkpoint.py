"""Policy after PPO against the variant's reward."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("ppo_checkpoint"))
def ppo_checkpoint(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "ppo_checkpoint")
