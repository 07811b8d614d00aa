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
    talks, texts, true, groups, is_gold = training_rows(
        common.gold(context, "train"),
        common.prompts(context, "train"),
        rules,
        settings.composed_per_type,
        context.settings.seed,
    )
    read = StateFeatures(context.path("base_model"), settings.layer, settings.batch_size)
    features = read(talks, texts, common.Reporter(context, "reading hidden states"))
    labels = np.array([[float(name in row) for name in names] for row in true])
    # A gold row weighs as much as three composed ones: it is what real completions look like.
    heads = fit_heads(
        features,
        labels,
        groups,
        names,
        settings.regularisation,
        sample_weight=np.where(is_gold, 3.0, 1.0),
        calibrate_on=is_gold,
    )
    metrics = {"gold_rows": float(is_gold.sum()), "composed_rows": float((~is_gold).sum())}
    with context.output("grader") as folder:
        heads.save(folder, {"layer": read.layer, "engine": "head"})
        write_json(folder / "metrics.json", metrics)
    return metrics
