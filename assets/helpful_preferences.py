"""Helpful-only preference pairs, demonstrations and RL prompts, split by family."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("helpful_preferences"))
def helpful_preferences(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "helpful_preferences")
