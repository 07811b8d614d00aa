"""Fit the evaluation's judge, and measure it on held-out gold."""

from __future__ import annotations

import numpy as np

from rbr.files import write_json, write_rows
from rbr.grading.accuracy import judge_accuracy, measure
from rbr.grading.fit import training_rows
from rbr.grading.head import HeadGrader
from rbr.steps import common
from rbr.steps.context import Context
from rbr.steps.tuning import tuning


def run(context: Context) -> dict[str, float]:
    names = context.rules.proposition_names
    settings = context.settings.judge
    # Other draws than the grader's: composed rows, order, and the rows kept for calibration.
    seed = context.settings.seed + 1000
    rows = training_rows(
        common.gold(context, "train"),
        [*common.prompts(context, "train"), *common.prompts(context, "validation")],
        context.rules,
        settings.composed_per_type,
        settings.composed_comply,
        seed,
    )
    weights = np.ones((len(rows.completions), len(names)))
    # Where the policy complies there is nothing to disallow; that head is for the other requests.
    complied = np.array([kind == "comply" for kind in rows.response_types])
    weights[complied, names.index("disallowed_content")] = 0.0
    heldout = common.gold(context, "heldout")
    with tuning(context, "judge", "judge_model", rows, weights, settings.tuning, seed) as (
        folder,
        fitted,
    ):
        judge = HeadGrader(folder, context.path("judge_model"))
        found = measure(judge, heldout)
        metrics = {**fitted, **judge_accuracy(judge, heldout, found)}
        write_rows(folder / "per_proposition.jsonl", found.table)
        write_json(folder / "metrics.json", metrics)
    return metrics
