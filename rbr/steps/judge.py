"""Fit the evaluation's judge, and measure it on held-out gold."""

from __future__ import annotations

import numpy as np

from rbr.evaluation.judge import EmbeddingGrader, PairEmbeddings
from rbr.files import write_json, write_rows
from rbr.grading.accuracy import judge_accuracy, measure
from rbr.grading.fit import training_rows
from rbr.grading.heads import fit_heads
from rbr.steps import common
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    rules = context.rules
    names = rules.proposition_names
    settings = context.settings
    # Composed with another seed, and read by another backbone, than the grader's rows.
    rows = training_rows(
        common.gold(context, "train"),
        [*common.prompts(context, "train"), *common.prompts(context, "validation")],
        rules,
        settings.grader.composed_per_type,
        settings.grader.composed_comply,
        settings.seed + 1000,
    )
    read = PairEmbeddings(context.path("judge_model"))
    weights = np.where(rows.is_gold, 3.0, 1.0)[:, None] * np.ones(len(names))
    # Where the policy complies there is nothing to disallow; that head is for the other requests.
    complied = np.array([kind == "comply" for kind in rows.response_types])
    weights[complied, names.index("disallowed_content")] = 0.0
    heads = fit_heads(
        read(rows.conversations, rows.completions, common.Reporter(context, "embedding")),
        rows.labels(names),
        rows.groups,
        names,
        settings.grader.regularisation,
        sample_weight=weights,
        calibrate_on=rows.is_gold,
        balance=settings.grader.balance,
    )
    heldout = common.gold(context, "heldout")
    with context.output("judge") as folder:
        heads.save(folder, {"backbone": settings.models.judge})
        judge = EmbeddingGrader(folder, context.path("judge_model"))
        found = measure(judge, heldout)
        metrics = judge_accuracy(judge, heldout, found)
        write_rows(folder / "per_proposition.jsonl", found.table)
        write_json(folder / "metrics.json", metrics)
    return metrics
