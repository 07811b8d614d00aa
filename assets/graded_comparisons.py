"""Features (proposition and class probabilities) and R_rm of every comparison."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("graded_comparisons"))
def graded_comparisons(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "graded_comparisons")
