"""Model card and comparison table; the champion alias moves if every gate passed."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("model_release"))
def model_release(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "model_release")
