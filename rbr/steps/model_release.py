"""Comparison table, trade-off plot and model card of the release candidate."""

from __future__ import annotations

from typing import Any

from rbr.files import read_json, write_json
from rbr.release import comparison, markdown, trade_off
from rbr.settings import VARIANTS
from rbr.steps import common
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    base = read_json(context.path("baseline_eval") / "results.json")
    variants: dict[str, Any] = {
        name: read_json(context.path("safety_eval", name) / "results.json") for name in VARIANTS
    }
    judge = read_json(context.path("judge") / "metrics.json")
    table = comparison(base, variants, judge)
    capability = read_json(context.path("capability_eval", "rbr") / "metrics.json")
    metrics = {
        f"{row['model'].replace(' ', '_').lower()}.{name}": row[name][0]
        for row in table["rows"]
        for name in table["metrics"]
    }
    figure, plot = common.axes(7, 6)
    trade_off(table, plot[0][0])
    card = (
        "# Model card: RBR PPO\n\n"
        f"Rules: {context.rules.digest}\n\n{markdown(table)}\n"
        f"Capability of the PPO model: loss {capability['ppo.loss']:.3f} nats a token (SFT"
        f" {capability['sft.loss']:.3f}), items right {capability['ppo.accuracy']:.1%}.\n\n"
        "Limits: a demonstration model; judged by an automatic judge of the accuracy above.\n"
    )
    with context.output("model_release") as folder:
        write_json(folder / "comparison.json", table)
        (folder / "model_card.md").write_text(card)
        common.save_plot(figure, folder / "trade_off.png")
        write_json(folder / "metrics.json", metrics)
    return metrics
