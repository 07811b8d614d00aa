"""Weights of the rule-based reward, per response type."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("fitted_weights"))
def fitted_weights(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "fitted_weights")
