"""Accuracy of the grader per proposition on held-out gold, with intervals."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("grader_accuracy"))
def grader_accuracy(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "grader_accuracy")
