"""Safety evaluation of the base model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.evaluation import evaluate
from pipeline.gates import Part, shares
from pipeline.rows import evaluated_prompts


@artifact(
    folder="data",
    group="evaluation",
    inputs=("rules", "base_model", "judge", "judge_model", "safety_prompts"),
    rules=("names", "response_types", "roles", "classes"),
    settings=("evaluation",),
    kinds=("pytorch",),
    pool="gpu",
)
def baseline_eval(context: Context, output: Path) -> Mapping[str, float]:
    """Safety evaluation of the base model."""
    return evaluate(
        context, {"base": context.path("base_model")}, output, evaluated_prompts(context)
    )


@baseline_eval.gate
def expectations(context: Context) -> list[Part]:
    return [shares(context)]
