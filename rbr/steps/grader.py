"""Fit the reward's grader: heads, or the prompts and calibration of a yes/no engine."""

from __future__ import annotations

import random

import numpy as np

from rbr.files import write_json
from rbr.grading.fit import training_rows
from rbr.grading.load import make_engine
from rbr.grading.prompt_fit import fit_prompts
from rbr.grading.yesno import save_prompts
from rbr.steps import common
from rbr.steps.context import Context
from rbr.steps.tuning import tuning


def run(context: Context) -> dict[str, float]:
    return _heads(context) if context.settings.grader.engine == "head" else _prompts(context)


def _prompts(context: Context) -> dict[str, float]:
    settings = context.settings.grader
    rows = common.gold(context, "train")
    random.Random(context.settings.seed).shuffle(rows)
    rows = rows[: settings.prompt_rows]
    engine = make_engine(settings, context.path("base_model"))
    prompts = fit_prompts(engine, context.rules, rows, context.tracker.message)
    metrics = {"gold_rows": float(len(rows))}
    with context.output("grader") as folder:
        save_prompts(folder, prompts)
        write_json(folder / "metrics.json", metrics)
    return metrics


def _heads(context: Context) -> dict[str, float]:
    settings = context.settings.grader
    rows = training_rows(
        common.gold(context, "train"),
        common.prompts(context, "train"),
        context.rules,
        settings.composed_per_type,
        settings.composed_comply,
        context.settings.seed,
    )
    weights = np.ones((len(rows.completions), len(context.rules.proposition_names)))
    with tuning(
        context, "grader", "base_model", rows, weights, settings.tuning, context.settings.seed
    ) as (folder, metrics):
        write_json(folder / "metrics.json", metrics)
    return metrics
