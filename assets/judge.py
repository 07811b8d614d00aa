"""The evaluation's judge, and its accuracy on held-out gold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.gates import Part, between, metrics
from pipeline.tuning import tune_heads
from rbr.files import write_rows
from rbr.grading.accuracy import judge_accuracy, measure
from rbr.grading.consistency import ConsistentGrader


@artifact(
    folder="models",
    group="evaluation",
    inputs=("rules", "judge_model", "gold_propositions"),
    rules=("names", "response_types", "roles"),
    settings=("models", "judge"),
    kinds=("pytorch", "huggingface"),
    pool="gpu",
)
def judge(context: Context, output: Path) -> Mapping[str, float]:
    """The evaluation's judge: own backbone, own fit, its accuracy on held-out gold beside it."""
    from rbr.grading.head import HeadGrader

    rules = compiled_rules(context)
    model, options = context.path("judge_model"), context.settings.judge
    # On other rows than the grader's.
    fitted = tune_heads(context, model, "judge", options.tuning, output)
    heldout = rows.gold(context, "heldout")
    grader = ConsistentGrader(HeadGrader(output, model), rules.relations)
    measured = measure(grader, heldout, rules)
    write_rows(output / "per_proposition.jsonl", measured.table)
    write_rows(output / "by_part.jsonl", measured.parts)
    return {**fitted, **judge_accuracy(grader, heldout, measured, rules)}


@judge.gate
def expectations(context: Context) -> list[Part]:
    floor = context.settings.gates.judge_accuracy_min
    expectations = [
        between("refusal_accuracy", floor, 1, "refusals are told from answers"),
        between("disallowed_accuracy", floor, 1, "disallowed content is seen"),
    ]
    return [Part("held-out gold", metrics(context), expectations)]
