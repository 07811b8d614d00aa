"""The evaluation's judge, and its accuracy on held-out gold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.gates import Part, between, metrics
from pipeline.tuning import tune_heads
from rbr.comparisons.training_rows import training_rows
from rbr.files import write_rows
from rbr.grading.accuracy import judge_accuracy, measure
from rbr.grading.consistency import ConsistentGrader


@artifact(
    folder="models",
    group="evaluation",
    inputs=("rules", "judge_model", "gold_propositions", "safety_prompts"),
    rules=("names", "response_types", "roles", "completions"),
    settings=("models", "judge"),
    kinds=("torch", "huggingface"),
    pool="gpu",
)
def judge(context: Context, output: Path) -> Mapping[str, float]:
    """The evaluation's judge: own backbone, own fit, its accuracy on held-out gold beside it."""
    from rbr.grading.head import HeadGrader

    rules, options = compiled_rules(context), context.settings.judge
    names = rules.proposition_names
    # Other draws than the grader's: composed rows, order, and the rows kept for calibration.
    seed = context.settings.seed + 1000
    training = training_rows(
        rows.gold(context, "train"),
        [*rows.safety_prompts(context, "train"), *rows.safety_prompts(context, "validation")],
        rules,
        options.composed_per_type,
        options.composed_comply,
        seed,
    )
    weights = np.ones((len(training.completions), len(names)))
    model = context.path("judge_model")
    fitted = tune_heads(context, model, training, weights, names, options.tuning, seed, output)
    heldout = rows.gold(context, "heldout")
    grader = ConsistentGrader(HeadGrader(output, model), rules.relations)
    measured = measure(grader, heldout)
    write_rows(output / "per_proposition.jsonl", measured.table)
    return {**fitted, **judge_accuracy(grader, heldout, measured, rules)}


@judge.gate
def expectations(context: Context) -> list[Part]:
    floor = context.settings.gates.judge_accuracy_min
    expectations = [
        between("refusal_accuracy", floor, 1, "refusals are told from answers"),
        between("disallowed_accuracy", floor, 1, "disallowed content is seen"),
    ]
    return [Part("held-out gold", metrics(context), expectations)]
