"""What is released: comparison table, trade-off plot, model card and report."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.gates import Part, between, present, unique
from pipeline.plots import axes, save_plot
from pipeline.release.comparison_table import (
    comparison,
    external_block,
    markdown,
    model_title,
    trade_off,
)
from pipeline.release.differences import markdown as differences_markdown
from pipeline.release.differences import paired_table
from pipeline.release.examples import choose
from pipeline.release.report import Model, build
from pipeline.reward import VariantReward
from pipeline.variants import MAIN, VARIANTS, Variant
from rbr.data.rows import Message
from rbr.evaluation.safety import as_verdict
from rbr.files import iter_json_lines, read_json, write_json
from rbr.reward.rule_based_reward import Explanation

STAGES = ("sft", "ppo")


def inputs(variants: Sequence[Variant], sets: Sequence[str]) -> tuple[str, ...]:
    """Every variant's evaluations, those on external sets, and all whose gate must stop a release."""
    compared = [
        variant.key(name)
        for name in ("safety_eval", "attack_eval", "capability_eval", "ppo_checkpoint")
        for variant in variants
    ]
    shared = ("rules", "base_model", "baseline_eval", "base_attack_eval", "judge", "grader")
    rewards = ("grader_accuracy", "helpful_reward_model", "fitted_weights")
    external = [f"external_eval/{name}" for name in sets]
    return (*shared, *rewards, *compared, *external)


@artifact(
    folder="data",
    group="release",
    inputs=inputs,
    settings=("variants", "gates", "grade_noise"),
    kinds=("mlflow",),
    plot="trade_off.png",
)
def model_release(context: Context, output: Path) -> Mapping[str, float]:
    """Model card and comparison table; the champion alias moves if every gate passed."""
    variants = [VARIANTS[name] for name in context.settings.variants]
    base = read_json(context.path("baseline_eval") / "results.json")
    results = {
        variant: read_json(context.path(variant.key("safety_eval")) / "results.json")
        for variant in variants
    }
    judge = read_json(context.path("judge") / "metrics.json")
    models = evaluated_models(context, variants)
    judged = {name: [as_verdict(row) for row in model.rows] for name, model in models.items()}
    response_types = compiled_rules(context).response_types
    judge |= read_json(context.path("base_attack_eval") / "metrics.json")
    external, attacks = external_blocks(context, variants), attack_results(context, variants)
    table = comparison(base, results, judge, response_types, external, attacks)
    table |= paired_table(model_title(MAIN, "ppo"), judged)
    write_json(output / "comparison.json", table)
    (output / "model_card.md").write_text(model_card(context, table), encoding="utf-8")
    figure, (plot,) = axes(7, 6)
    trade_off(table, plot)
    save_plot(figure, output / "trade_off.png")
    for name in ("weights", "rewards"):
        shutil.copy(context.path("fitted_weights") / f"{name}.png", output)
    # What a comparison of runs reads: it has MLflow alone, not this workspace.
    categories = {"base": base["base"]["refusals"]} | {
        model_title(variant, stage): found[stage]["refusals"]
        for variant, found in results.items()
        for stage in STAGES
    }
    summary = {
        "table": table,
        "categories": categories,
        "weights": read_json(context.path("fitted_weights") / "weights.json")["weights"],
        "rules": compiled_rules(context).digest,
        "rule_hashes": compiled_rules(context).hashes(),
    }
    write_json(output / "summary.json", summary)
    context.log("writing the report")
    html = report(context, variants, models, table, output)
    (output / "report.html").write_text(html, encoding="utf-8")
    return {
        f"{row['model'].replace(' ', '_').lower()}.{name}": row[name][0]
        for row in table["rows"]
        for name in table["metrics"]
    }


def external_blocks(context: Context, variants: Sequence[Variant]) -> list[dict[str, Any]]:
    """The tables of the external sets, in the profile's order."""
    blocks = []
    for name in context.settings.external_eval:
        folder = context.path(f"external_eval/{name}")
        found = read_json(folder / "results.json")
        titled = {"base": found["base"]} | {
            model_title(variant, stage): found[f"{variant.name}_{stage}"]
            for stage in STAGES
            for variant in variants
        }
        blocks.append(external_block(name, titled, read_json(folder / "judge.json")))
    return blocks


def attack_results(context: Context, variants: Sequence[Variant]) -> dict[str, Any]:
    """What attacks achieved with each model, as the table names it; empty where no form is written."""
    base = read_json(context.path("base_attack_eval") / "results.json")
    evaluated = {
        variant: read_json(context.path(variant.key("attack_eval")) / "results.json")
        for variant in variants
    }
    return base | {
        model_title(variant, stage): found[stage]
        for stage in STAGES
        for variant, found in evaluated.items()
        if found
    }


def model_card(context: Context, table: Mapping[str, Any]) -> str:
    """The model card as Markdown."""
    capability = read_json(context.path(MAIN.key("capability_eval")) / "metrics.json")
    return (
        f"# Model card: {model_title(MAIN, 'ppo')}\n\n"
        f"Rules: {compiled_rules(context).digest}\n\n{markdown(table)}"
        + "\n".join(differences_markdown(table))
        + "\n\n"
        f"Capability of the PPO model: loss {capability['ppo.loss']:.3f} nats a token (SFT"
        f" {capability['sft.loss']:.3f}, base {capability['base.loss']:.3f}), items right"
        f" {capability['ppo.accuracy']:.1%} (base {capability['base.accuracy']:.1%}).\n\n"
        "Limits: a demonstration model; judged by an automatic judge of the accuracy above.\n"
    )


def evaluated_models(context: Context, variants: Sequence[Variant]) -> dict[str, Model]:
    """The table's models, by its names."""
    models = {"base": evaluated(context.path("baseline_eval"), "base")}
    for stage in STAGES:
        for variant in variants:
            folder = context.path(variant.key("safety_eval"))
            models[model_title(variant, stage)] = evaluated(folder, stage)
    return models


def report(
    context: Context,
    variants: Sequence[Variant],
    models: Mapping[str, Model],
    table: Mapping[str, Any],
    output: Path,
) -> str:
    """The report as HTML."""
    reward = VariantReward.of(context).rule_based

    def explain(prompt: str, completion: str, response_type: str) -> Explanation:
        return reward.explain((Message(role="user", content=prompt),), completion, response_type)

    weights = context.path("fitted_weights")
    plots = {
        "Not-Unsafe against Not-Overrefuse": output / "trade_off.png",
        "Pair errors of the reward, and on fewer prompts": weights / "errors.png",
        "Rewards by label": weights / "rewards.png",
        "Weights": weights / "weights.png",
        **{
            f"PPO of {variant.name}": context.path(variant.key("ppo_checkpoint")) / "training.png"
            for variant in variants
        },
        **{
            f"Reward of {variant.name} and an independent judge": context.path(
                variant.key("safety_eval")
            )
            / "over_optimisation.png"
            for variant in variants
        },
    }
    settings = context.settings
    return build(
        table,
        models,
        {title: path.read_bytes() for title, path in plots.items()},
        choose({name: model.rows for name, model in models.items()}),
        explain,
        {
            "rules": compiled_rules(context).digest,
            "policy model": settings.models.policy,
            "algorithm": f"{settings.rl.algorithm}, {settings.rl.steps} rollouts",
            "seed": str(settings.seed),
        },
    )


def evaluated(folder: Path, name: str) -> Model:
    """A model's results and judged rows."""
    rows = [row for _, row in iter_json_lines(folder / f"{name}.jsonl")]
    return Model(read_json(folder / "results.json")[name], rows)


@model_release.gate
def expectations(context: Context) -> list[Part]:
    rows = pd.DataFrame(read_json(context.folder / "comparison.json")["rows"])
    shown = pd.DataFrame({"model": rows["model"], "f1_star": [v[0] for v in rows["f1_star"]]})
    checks = [*unique("model"), *present("f1_star"), between("f1_star", 0, 1, "F1*")]
    return [Part("comparison", shown, checks)]
