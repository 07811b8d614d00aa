"""The rules as people write them: observed, with a data version for each rule."""

import warnings
from pathlib import Path

import dagster as dg

from rbr.rules import load_rules

# Dagster calls observed assets beta, on every start.
warnings.filterwarnings("ignore", message=".*observable_source_asset", category=dg.BetaWarning)
rule_names = dg.DynamicPartitionsDefinition(name="rules")


@dg.observable_source_asset(
    description="What people write under rules/. A partition a rule; its data version is the hash of"
    " what it means, so that a comment makes no other one.",
    group_name="policy",
    partitions_def=rule_names,
    required_resource_keys={"pipeline"},
)
def written_rules(context: dg.OpExecutionContext) -> dg.DataVersionsByPartition:
    hashes = load_rules(Path(context.resources.pipeline.root) / "rules").hashes()
    context.instance.add_dynamic_partitions("rules", sorted(hashes))
    return dg.DataVersionsByPartition(hashes)
