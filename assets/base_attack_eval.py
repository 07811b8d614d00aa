"""The base model under attack, which every trained one is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.attacks import evaluate_attacks, judge_under_attack, measured
from pipeline.context import Context
from pipeline.gates import Part


@artifact(
    folder="data",
    group="evaluation",
    inputs=("rules", "base_model", "judge", "judge_model", "attack_prompts"),
    rules=("names", "response_types", "roles", "classes"),
    settings=("evaluation",),
    kinds=("pytorch",),
    pool="gpu",
    plot="forms.png",
)
def base_attack_eval(context: Context, output: Path) -> Mapping[str, float]:
    """Attack success and over-refusal under attack of the base model, and the judge's accuracy there."""
    values = evaluate_attacks(context, {"base": context.path("base_model")}, output)
    return values | judge_under_attack(context)


@base_attack_eval.gate
def expectations(context: Context) -> list[Part]:
    return measured(context, ("base",))
