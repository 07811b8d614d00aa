"""Capability of a variant's SFT and PPO models, beside the base model's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.gates import Part, between, metrics
from pipeline.variants import Variant
from rbr.data.rows import CapabilityItem, CapabilityText
from rbr.files import read_rows


def inputs(variant: Variant) -> tuple[str, ...]:
    """The three models."""
    return ("base_model", variant.key("sft_checkpoint"), variant.key("ppo_checkpoint"))


@artifact(
    folder="data",
    group="evaluation",
    inputs=inputs,
    sources=("data/source/capability.jsonl", "data/source/capability_text.jsonl"),
    settings=("evaluation",),
    kinds=("pytorch",),
    pool="gpu",
    per_variant=True,
)
def capability_eval(context: Context, output: Path) -> Mapping[str, float]:
    """Held-out loss and small factual and instruction items, beside the SFT and base models."""
    from rbr.evaluation.capability import capability

    items = read_rows(context.source / "capability.jsonl", CapabilityItem)
    items = items[: context.settings.evaluation.capability_items]
    texts = read_rows(context.source / "capability_text.jsonl", CapabilityText)
    models = {
        "base": context.path("base_model"),
        "sft": context.own("sft_checkpoint"),
        "ppo": context.own("ppo_checkpoint"),
    }
    values: dict[str, float] = {}
    for name, model in models.items():
        context.log(f"capability of {name}")
        found = capability(model, items, texts)
        values |= {f"{name}.{metric}": value for metric, value in found.items()}
    return values | {"loss_rise": values["ppo.loss"] - values["sft.loss"]}


@capability_eval.gate
def expectations(context: Context) -> list[Part]:
    margin = context.settings.gates.capability_loss_margin
    why = "held-out loss above the SFT model's, nats a token"
    return [Part("capability", metrics(context), [between("loss_rise", None, margin, why)])]
