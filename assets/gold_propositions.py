"""Completions labelled with all propositions, split into train and held-out."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("gold_propositions"))
def gold_propositions(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "gold_propositions")
