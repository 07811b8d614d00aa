"""Capability of a variant's SFT and PPO models, beside the base model's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.evaluation import CAPABILITY_SOURCES, measure_capability
from pipeline.gates import Part, between, metrics, numbers
from pipeline.variants import Variant
from rbr.files import read_json

MODELS = ("sft", "ppo")


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
    """Held-out loss and small factual and instruction items, beside the base model's."""
    base = read_json(context.path("base_capability") / "metrics.json")
    models = {name: context.own(f"{name}_checkpoint") for name in MODELS}
    values = base | measure_capability(context, models)
    for name in MODELS:
        values[f"{name}.loss_rise"] = values[f"{name}.loss"] - values["base.loss"]
        # Below the lower end of the base model's interval.
        values[f"{name}.items_lost"] = values["base.accuracy.low"] - values[f"{name}.accuracy"]
    return values


@capability_eval.gate
def expectations(context: Context) -> list[Part]:
    margin, checks = context.settings.gates.capability_loss_margin, []
    for name in MODELS:
        why = "held-out loss above the base model's, nats a token"
        checks.append(between(f"{name}.loss_rise", None, margin, why))
        why = "items right, below the base model's interval"
        checks.append(between(f"{name}.items_lost", None, 0, why))
    return [Part("capability", metrics(context), checks), numbers(context)]
