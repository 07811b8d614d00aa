"""Weights of the rule-based reward on the human reward model, per response type."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("human_fitted_weights"))
def human_fitted_weights(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "human_fitted_weights")
