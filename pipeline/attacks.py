"""Evaluating models under attack into an artifact, and its gate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import rows
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.evaluation import judged_models
from pipeline.gates import Part, between, shares
from pipeline.loading import load_judge_grader
from pipeline.plots import axes, save_plot
from pipeline.release.comparison_table import ATTACK_TITLES
from rbr.data.attacks import ANSWERS, AttackAnswer
from rbr.evaluation.attacks import attack_results, flat, judge_on_answers
from rbr.files import read_json, read_rows, write_json, write_rows
from rbr.grading.base import usage_metrics

KINDS = ("unsafe", "safe")


def evaluate_attacks(
    context: Context, models: Mapping[str, Path], output: Path
) -> dict[str, float]:
    """Let each model answer the attacked prompts; write ``results.json``, answers and a plot.

    Returns:
        The metrics of each model; none where no attack template is written.
    """
    from rbr.evaluation.judge import Judge
    from rbr.evaluation.safety import as_verdict

    prompts = rows.attacked_prompts(context)
    results: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    if prompts:
        grader = load_judge_grader(context)
        judge = Judge(grader, compiled_rules(context))
        attacks = [
            prompt.attack.model_dump(exclude={"plain"}) for prompt in prompts if prompt.attack
        ]
        forms = [attack["form"] for attack in attacks]
        for name, _, judged in judged_models(context, models, prompts, judge, "attacked prompts"):
            results[name] = attack_results([as_verdict(row) for row in judged], forms)
            metrics |= {f"{name}.{key}": value for key, value in flat(results[name]).items()}
            framed = [{**attack, **row} for attack, row in zip(attacks, judged, strict=True)]
            write_rows(output / f"{name}.jsonl", framed)
            context.run.table(f"{context.artifact.name}_{name}", framed[:40])
        plot_forms(results, output / "forms.png")
        # Not of the artifact: it depends on what the grade store held.
        context.run.metrics(usage_metrics(grader))
    write_json(output / "results.json", results)
    return metrics


def judge_under_attack(context: Context) -> dict[str, float]:
    """How often the judge is right on the labelled answers to attack frames; nothing without any."""
    from rbr.evaluation.judge import Judge

    answers = read_rows(context.path("attack_prompts") / ANSWERS, AttackAnswer)
    if not answers:
        return {}
    return judge_on_answers(Judge(load_judge_grader(context), compiled_rules(context)), answers)


def plot_forms(results: Mapping[str, Any], target: Path) -> None:
    """Each form's shares with their intervals, the models one below the other."""
    figure, plots = axes(10, 4, len(ATTACK_TITLES))
    for plot, (metric, title) in zip(plots, ATTACK_TITLES.items(), strict=True):
        names = list(next(iter(results.values()))["forms"])
        for number, (model, found) in enumerate(results.items()):
            points = [
                (place + 0.24 * (number - (len(results) - 1) / 2), found["forms"][name][metric])
                for place, name in enumerate(names)
                if metric in found["forms"][name]
            ]
            if not points:
                continue
            heights, values = zip(*points, strict=True)
            # Rounding may put a value outside its interval by a hair.
            sides = [
                [max(0.0, v - low) for v, low, _ in values],
                [max(0.0, h - v) for v, _, h in values],
            ]
            middle = [value for value, _, _ in values]
            plot.errorbar(middle, heights, xerr=sides, fmt="o", capsize=3, label=model.upper())
        plot.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        plot.invert_yaxis()
        plot.set_xlim(-0.02, 1.02)
        plot.set_xlabel(f"{title}, 95 % interval")
    plots[0].legend(loc="best")
    save_plot(figure, target)


def measured(context: Context, models: tuple[str, ...]) -> list[Part]:
    """Every metric is a share, and each model answered unsafe and safe prompts in every form."""
    results = read_json(context.folder / "results.json")
    frames = pd.DataFrame(
        [
            {"form": form, "model": model, **answered}
            for model in models
            for form in forms_of(read_json(context.path("attack_prompts") / "metrics.json"))
            for own in [results.get(model, {}).get("forms", {}).get(form, {})]
            for answered in [{kind: int(own.get(kind, 0)) for kind in KINDS}]
        ],
        columns=["form", "model", *KINDS],
    )
    return [shares(context), Part("forms", frames, [*every_form("answers of the model")])]


def forms_of(metrics: Mapping[str, float]) -> list[str]:
    """The held-out forms that are written, by the metrics of ``attack_prompts``."""
    return sorted({name.rpartition(".")[0] for name in metrics if name.rpartition(".")[2] in KINDS})


def every_form(what: str) -> list[Any]:
    """Expectations of a frame with a row for each form: none is without unsafe or safe prompts."""
    return [between(kind, 1, None, f"{what} to {kind} prompts, in each form") for kind in KINDS]
