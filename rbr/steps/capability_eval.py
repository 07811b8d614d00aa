"""Capability of a variant's SFT and PPO models, beside the base model's."""

from __future__ import annotations

from rbr.data.rows import CapabilityItem, CapabilityText
from rbr.files import read_rows, write_json
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    from rbr.evaluation.capability import capability

    items = read_rows(context.source / "capability.jsonl", CapabilityItem)
    items = items[: context.settings.evaluation.capability_items]
    texts = read_rows(context.source / "capability_text.jsonl", CapabilityText)
    metrics: dict[str, float] = {}
    with context.output("capability_eval") as folder:
        for name, model in (
            ("base", context.path("base_model")),
            ("sft", context.path("sft_checkpoint", context.variant)),
            ("ppo", context.path("ppo_checkpoint", context.variant)),
        ):
            context.tracker.message(f"capability of {name}")
            values = capability(model, items, texts)
            metrics |= {f"{name}.{key}": value for key, value in values.items()}
        metrics["loss_rise"] = metrics["ppo.loss"] - metrics["sft.loss"]
        write_json(folder / "metrics.json", metrics)
    return metrics
