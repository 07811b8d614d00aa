"""The policy model before any training."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("base_model"))
def base_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "base_model")
