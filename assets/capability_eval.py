"""Capability of a variant's SFT and PPO models, beside the base model's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.evaluation import CAPABILITY_SOURCES, measure_capability
from pipeline.gates import Part, between, metrics, numbers
from pipeline.variants import MAIN, Variant
from rbr.evaluation.paired import share_change
from rbr.files import iter_json_lines, read_json

MODELS = ("sft", "ppo")
ENDS = ("", ".low", ".high")


def inputs(variant: Variant) -> tuple[str, ...]:
    """The two models, and what the base model reached."""
    return ("base_capability", *(variant.key(f"{name}_checkpoint") for name in MODELS))


@artifact(
    folder="data",
    group="evaluation",
    inputs=inputs,
    sources=CAPABILITY_SOURCES,
    settings=("evaluation",),
    kinds=("pytorch",),
    pool="gpu",
    per_variant=True,
)
def capability_eval(context: Context, output: Path) -> Mapping[str, float]:
    """Held-out loss and items of facts, instructions, arithmetic and reading, beside the base model's."""
    base = context.path("base_capability")
    models = {name: context.own(f"{name}_checkpoint") for name in MODELS}
    values = read_json(base / "metrics.json") | measure_capability(context, models, output)
    before, after = (
        [row for _, row in iter_json_lines(folder / "items.jsonl")] for folder in (base, output)
    )
    for name in MODELS:
        values[f"{name}.loss_rise"] = values[f"{name}.loss"] - values["base.loss"]
        change = share_change([row["base"] for row in before], [row[name] for row in after])
        values |= dict(zip((f"{name}.items_change{end}" for end in ENDS), change, strict=True))
        # What is certainly lost: the interval's upper end, where that is below 0.
        values[f"{name}.items_lost"] = max(0.0, -change[2])
    return values


@capability_eval.gate
def expectations(context: Context) -> list[Part]:
    kept = [capability(context)] if context.artifact.variant == MAIN else []
    return [*kept, numbers(context)]


@capability_eval.alarm
def lost_capability(context: Context) -> list[Part]:
    """Warns where a policy that is only compared with has lost capability; it stops nothing."""
    return [] if context.artifact.variant == MAIN else [capability(context)]


def capability(context: Context) -> Part:
    """Held-out loss and items, no worse than the base model's."""
    margin, checks = context.settings.gates.capability_loss_margin, []
    for name in MODELS:
        why = "held-out loss above the base model's, nats a token"
        checks.append(between(f"{name}.loss_rise", None, margin, why))
        why = "share of items right below the base model's, for certain (paired, 95 %)"
        checks.append(between(f"{name}.items_lost", None, 0, why))
    return Part("capability", metrics(context), checks)
