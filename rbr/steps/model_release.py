"""Comparison table, trade-off plot, model card and report of the release candidate."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rbr.data.rows import Message
from rbr.files import iter_json_lines, read_json, write_json
from rbr.release import comparison, markdown, model_name, trade_off
from rbr.report import Model, build, choose
from rbr.reward import Explanation
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
        f" {capability['sft.loss']:.3f}, base {capability['base.loss']:.3f}), items right"
        f" {capability['ppo.accuracy']:.1%} (base {capability['base.accuracy']:.1%}).\n\n"
        "Limits: a demonstration model; judged by an automatic judge of the accuracy above.\n"
    )
    with context.output("model_release") as folder:
        write_json(folder / "comparison.json", table)
        (folder / "model_card.md").write_text(card)
        common.save_plot(figure, folder / "trade_off.png")
        for name in ("weights", "rewards"):
            shutil.copy(context.path("fitted_weights") / f"{name}.png", folder)
        # What a comparison of runs reads: it has MLflow alone, not this workspace.
        write_json(folder / "summary.json", summary(context, table, base, variants))
        (folder / "report.html").write_text(report(context, table, folder), encoding="utf-8")
        write_json(folder / "metrics.json", metrics)
    return metrics


def summary(
    context: Context, table: dict[str, Any], base: dict[str, Any], variants: dict[str, Any]
) -> dict[str, Any]:
    """The table, refusal classes by category of each model, the weights, and the rules' digest."""
    categories = {"base": base["base"]["refusals"]}
    for variant, results in variants.items():
        for stage in ("sft", "ppo"):
            categories[model_name(variant, stage)] = results[stage]["refusals"]
    return {
        "table": table,
        "categories": categories,
        "weights": read_json(context.path("fitted_weights") / "weights.json")["weights"],
        "rules": context.rules.digest,
    }


def report(context: Context, table: dict[str, Any], folder: Path) -> str:
    """The report as HTML; see ``rbr.report``."""
    models = {"base": _model(context.path("baseline_eval"), "base")}
    for stage in ("sft", "ppo"):
        for variant in VARIANTS:
            found = _model(context.path("safety_eval", variant), stage)
            models[model_name(variant, stage)] = found
    reward = common.load_reward(context)

    def explain(prompt: str, completion: str, response_type: str) -> Explanation:
        return reward.explain((Message(role="user", content=prompt),), completion, response_type)

    weights = context.path("fitted_weights")
    plots = {
        "Not-Unsafe against Not-Overrefuse": folder / "trade_off.png",
        "Pair errors of the reward, and on fewer prompts": weights / "errors.png",
        "Rewards by label": weights / "rewards.png",
        "Weights": weights / "weights.png",
        **{
            f"PPO of {variant}": context.path("ppo_checkpoint", variant) / "training.png"
            for variant in VARIANTS
        },
    }
    context.tracker.message("writing the report")
    return build(
        table,
        models,
        {title: path.read_bytes() for title, path in plots.items()},
        choose({name: model.rows for name, model in models.items()}),
        explain,
        {
            "rules": context.rules.digest,
            "policy model": context.settings.models.policy,
            "algorithm": f"{context.settings.rl.algorithm}, {context.settings.rl.steps} rollouts",
            "seed": str(context.settings.seed),
        },
    )


def _model(folder: Path, name: str) -> Model:
    rows = [row for _, row in iter_json_lines(folder / f"{name}.jsonl")]
    return Model(read_json(folder / "results.json")[name], rows)
