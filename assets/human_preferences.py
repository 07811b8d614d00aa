"""SIMULATED human safety preferences: over-cautious annotators, by setting."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("human_preferences"))
def human_preferences(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "human_preferences")
