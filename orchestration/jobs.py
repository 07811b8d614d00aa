"""Jobs: the graph in the three parts that Dagster's partitions ask for."""

from __future__ import annotations

import dagster as dg

from assets.declare import variants
from rbr.steps import STEPS

per_variant = [name for name, step in STEPS.items() if step.variants]
release = ["model_release"]
shared = [name for name in STEPS if name not in per_variant and name not in release]

shared_job = dg.define_asset_job(
    "shared",
    selection=dg.AssetSelection.assets(*shared),
    description="Rules, data, grader, reward models, weights and the base model's evaluation.",
)
variant_job = dg.define_asset_job(
    "variant",
    selection=dg.AssetSelection.assets(*per_variant),
    partitions_def=variants,
    description="SFT, PPO and evaluation of one variant.",
)
release_job = dg.define_asset_job(
    "release",
    selection=dg.AssetSelection.assets(*release),
    description="Comparison table, model card and champion alias.",
)
JOBS = [shared_job, variant_job, release_job]
