"""The grader, fitted on gold train rows and composed completions with known propositions."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("grader"))
def grader(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "grader")
