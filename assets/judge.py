"""The evaluation's judge, and its accuracy on held-out gold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.gates import Part, between, metrics
from pipeline.tuning import fit
from rbr.evaluation.judge import Judge
from rbr.evaluation.nonsense import nonsense_best_share
from rbr.files import write_rows
from rbr.grading.accuracy import judge_accuracy, measure
from rbr.grading.base import usage_metrics


@artifact(
    folder="models",
    group="evaluation",
    inputs=("rules", "judge_model", "gold_propositions"),
    rules=("names", "response_types", "roles", "judged"),
    settings=("models", "judge"),
    kinds=("pytorch", "huggingface"),
    pool="gpu",
)
def judge(context: Context, output: Path) -> Mapping[str, float]:
    """The evaluation's judge: own backbone, own fit, its accuracy on held-out gold beside it."""
    from rbr.grading.load import make_grader

    rules = compiled_rules(context)
    model, options = context.path("judge_model"), context.settings.judge
    # On other rows than the grader's.
    fitted = fit(context, model, "judge", options, output)
    heldout = rows.gold(context, "heldout")
    grader = make_grader(options, rules, output, model)
    progress = context.progress("judging held-out gold")
    measured = measure(grader, heldout, rules, progress=progress)
    write_rows(output / "per_proposition.jsonl", measured.table)
    write_rows(output / "by_part.jsonl", measured.parts)
    nonsense = nonsense_best_share(Judge(grader, rules), heldout, context.settings.seed)
    found = judge_accuracy(grader, heldout, measured, rules)
    return {**fitted, **usage_metrics(grader), **found, "nonsense_best_share": nonsense}


@judge.gate
def expectations(context: Context) -> list[Part]:
    gates = context.settings.gates
    floor = gates.judge_accuracy_min
    expectations = [
        between("refusal_accuracy", floor, 1, "refusals are told from answers"),
        between("disallowed_accuracy", floor, 1, "disallowed content is seen"),
        between("nonsense_best_share", 0, gates.nonsense_best_max, "word salad of the best class"),
    ]
    return [Part("held-out gold", metrics(context), expectations)]
