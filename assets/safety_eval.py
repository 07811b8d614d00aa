"""Safety evaluation of a variant's SFT and PPO models."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("safety_eval"))
def safety_eval(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "safety_eval")
