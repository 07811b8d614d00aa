"""The evaluation's judge: own backbone, own fit, its accuracy on held-out gold beside it."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("judge"))
def judge(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "judge")
