"""Safety prompts with their response types, split by family."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("safety_prompts"))
def safety_prompts(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "safety_prompts")
