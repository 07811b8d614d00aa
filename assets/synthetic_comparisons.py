"""Completions made to order: each with a wanted label, confirmed by the grader."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("synthetic_comparisons"))
def synthetic_comparisons(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "synthetic_comparisons")
