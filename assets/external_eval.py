"""Evaluation of the table's models on a published set that nothing is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.evaluation import evaluate
from pipeline.external import external_set
from pipeline.gates import Part, shares
from pipeline.loading import load_judge_grader
from pipeline.variants import VARIANTS, Variant
from rbr.files import write_json

STAGES = ("sft", "ppo")


def inputs(variants: Sequence[Variant], sets: Sequence[str]) -> tuple[str, ...]:
    """All models of the table, and what judges them."""
    models = [v.key(f"{stage}_checkpoint") for stage in STAGES for v in variants]
    return ("rules", "base_model", "judge", "judge_model", *models)


@artifact(
    folder="data",
    group="evaluation",
    inputs=inputs,
    rules=("names", "response_types", "roles", "classes"),
    settings=("variants", "evaluation"),
    kinds=("pytorch",),
    pool="gpu",
    per_set=True,
)
def external_eval(context: Context, output: Path) -> Mapping[str, float]:
    """Evaluation of the base model and every variant's models on an external set; nothing learns from it."""
    from rbr.evaluation.judge import Judge
    from rbr.evaluation.known_answers import accuracy_on_answers

    prompts, answers = external_set(context)
    right: dict[str, dict[str, Any]] = {}
    if answers:
        context.log(f"judging {len(answers)} labelled answers")
        judge = Judge(load_judge_grader(context), compiled_rules(context))
        right = accuracy_on_answers(judge, answers, context.settings.evaluation.bootstrap)
    write_json(output / "judge.json", right)
    models = {"base": context.path("base_model")} | {
        f"{name}_{stage}": context.path(VARIANTS[name].key(f"{stage}_checkpoint"))
        for stage in STAGES
        for name in context.settings.variants
    }
    values = evaluate(context, models, output, prompts)
    return values | {f"judge.{name}": found["accuracy"][0] for name, found in right.items()}


@external_eval.gate
def expectations(context: Context) -> list[Part]:
    return [shares(context)]
