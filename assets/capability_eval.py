"""Held-out loss and small factual and instruction items, against the SFT model."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("capability_eval"))
def capability_eval(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "capability_eval")
