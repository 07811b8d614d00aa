"""Safety evaluation of the base model."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("baseline_eval"))
def baseline_eval(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "baseline_eval")
