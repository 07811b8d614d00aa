"""The written rules, compiled: one canonical file a section, so that a comment changes nothing."""

import dagster as dg

from assets.declare import declare


@dg.asset(**declare("rules", "written_rules"))
def rules(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return context.resources.pipeline.materialize(context, "rules")
