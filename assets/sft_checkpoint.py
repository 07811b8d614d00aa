"""Supervised fine-tuned model, per variant."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("sft_checkpoint"))
def sft_checkpoint(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "sft_checkpoint")
