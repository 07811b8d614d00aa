"""Fit the reward's grader."""

from __future__ import annotations

import numpy as np

from rbr.files import write_json
from rbr.grading.fit import training_rows
from rbr.grading.head import StateFeatures
from rbr.grading.heads import fit_heads
from rbr.steps import common
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    settings = context.settings.grader
    rules = context.rules
    names = rules.proposition_names
    rows = training_rows(
        common.gold(context, "train"),
        common.prompts(context, "train"),
        rules,
        settings.composed_per_type,
        context.settings.seed,
    )
    read = StateFeatures(context.path("base_model"), settings.layer, settings.batch_size)
    report = common.Reporter(context, "reading hidden states")
    features = read(rows.conversations, rows.completions, report)
    # A gold row weighs as much as three composed ones: it is what real completions look like.
    heads = fit_heads(
        features,
        rows.labels(names),
        rows.groups,
        names,
        settings.regularisation,
        sample_weight=np.where(rows.is_gold, 3.0, 1.0),
        calibrate_on=rows.is_gold,
    )
    metrics = {
        "gold_rows": float(rows.is_gold.sum()),
        "composed_rows": float((~rows.is_gold).sum()),
    }
    with context.output("grader") as folder:
        heads.save(folder, {"layer": read.layer, "engine": "head"})
        write_json(folder / "metrics.json", metrics)
    return metrics
