"""Frozen embedding model of the evaluation's judge: another backbone than the grader's."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("judge_model"))
def judge_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "judge_model")
