"""Fit the reward's grader: heads, or the prompts and calibration of a yes/no engine."""

from __future__ import annotations

import random

import numpy as np

from rbr.files import write_json
from rbr.grading.fit import training_rows
from rbr.grading.head import StateFeatures
from rbr.grading.heads import fit_heads
from rbr.grading.load import make_engine
from rbr.grading.prompt_fit import fit_prompts
from rbr.grading.yesno import save_prompts
from rbr.steps import common
from rbr.steps.context import Context


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
    rules = context.rules
    names = rules.proposition_names
    rows = training_rows(
        common.gold(context, "train"),
        common.prompts(context, "train"),
        rules,
        settings.composed_per_type,
        settings.composed_comply,
        context.settings.seed,
    )
    read = StateFeatures(context.path("base_model"), settings.layers, settings.batch_size)
    report = common.Reporter(context, "reading hidden states")
    features = read(rows.conversations, rows.completions, report)
    # A gold row weighs as much as three composed ones: it is what real completions look like.
    heads = fit_heads(
        features,
        rows.labels(names),
        rows.groups,
        names,
        settings.regularisation,
        sample_weight=np.where(rows.is_gold, 3.0, 1.0),
        calibrate_on=rows.is_gold,
        balance=settings.balance,
    )
    metrics = {
        "gold_rows": float(rows.is_gold.sum()),
        "composed_rows": float((~rows.is_gold).sum()),
    }
    with context.output("grader") as folder:
        heads.save(folder, {"layers": list(read.layers), "engine": "head"})
        write_json(folder / "metrics.json", metrics)
    return metrics
