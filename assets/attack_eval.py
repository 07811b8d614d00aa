"""A variant's SFT and PPO models under attack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.attacks import evaluate_attacks, measured
from pipeline.context import Context
from pipeline.gates import Part
from pipeline.variants import Variant

MODELS = ("sft", "ppo")


def inputs(variant: Variant) -> tuple[str, ...]:
    """The two models, the attacked prompts, and what judges their answers."""
    models = (variant.key(f"{name}_checkpoint") for name in MODELS)
    return (*models, "rules", "judge", "judge_model", "attack_prompts")


@artifact(
    folder="data",
    group="evaluation",
    inputs=inputs,
    rules=("names", "response_types", "roles", "classes"),
    settings=("evaluation",),
    kinds=("pytorch",),
    pool="gpu",
    plot="forms.png",
    per_variant=True,
)
def attack_eval(context: Context, output: Path) -> Mapping[str, float]:
    """Attack success and over-refusal under attack of a variant's SFT and PPO models, by form."""
    models = {name: context.own(f"{name}_checkpoint") for name in MODELS}
    return evaluate_attacks(context, models, output)


@attack_eval.gate
def expectations(context: Context) -> list[Part]:
    return measured(context, MODELS)
