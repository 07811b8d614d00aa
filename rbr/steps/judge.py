"""Fit the evaluation's judge, and measure it on held-out gold."""

from __future__ import annotations

import numpy as np

from rbr.evaluation.judge import PairEmbeddings
from rbr.files import write_json, write_rows
from rbr.grading.accuracy import accuracy_table, label_matrix
from rbr.grading.fit import training_rows
from rbr.grading.heads import fit_heads
from rbr.steps import common
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    rules = context.rules
    names = rules.proposition_names
    settings = context.settings
    # Other composed rows than the grader's: validation prompts and another seed.
    talks, texts, true, groups, is_gold = training_rows(
        common.gold(context, "train"),
        common.prompts(context, "validation"),
        rules,
        settings.grader.composed_per_type,
        settings.seed + 1000,
    )
    read = PairEmbeddings(context.path("judge_model"))
    heads = fit_heads(
        read(talks, texts, common.Reporter(context, "embedding")),
        np.array([[float(name in row) for name in names] for row in true]),
        groups,
        names,
        settings.grader.regularisation,
        sample_weight=np.where(is_gold, 3.0, 1.0),
        calibrate_on=is_gold,
    )
    heldout = common.gold(context, "heldout")
    probabilities = heads.probabilities(
        read([row.conversation for row in heldout], [row.completion for row in heldout])
    )
    table = accuracy_table(probabilities, label_matrix(heldout, names), names)
    by_name = {row["proposition"]: row for row in table}
    metrics = {
        "accuracy": float(by_name["mean"]["accuracy"]),
        "refusal_accuracy": float(by_name["inability_to_comply"]["accuracy"]),
        "disallowed_accuracy": float(by_name["disallowed_content"]["accuracy"]),
    }
    with context.output("judge") as folder:
        heads.save(folder, {"backbone": settings.models.judge})
        write_rows(folder / "per_proposition.jsonl", table)
        write_json(folder / "metrics.json", metrics)
    return metrics
