"""The reward's grader."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.tuning import tune_heads
from rbr.comparisons.training_rows import training_rows
from rbr.rules.rules import Rules


@artifact(
    folder="models",
    group="grading",
    inputs=("rules", "base_model", "gold_propositions", "safety_prompts"),
    rules=("names", "response_types", "roles", "asked", "completions"),
    settings=("grader",),
    kinds=("torch", "huggingface"),
    pool="grader",
)
def grader(context: Context, output: Path) -> Mapping[str, float]:
    """The grader, fitted on gold train rows and composed completions with known propositions."""
    rules = compiled_rules(context)
    if context.settings.grader.engine != "head":
        return fit_yes_no(context, rules, output)
    options = context.settings.grader
    training = training_rows(
        rows.gold(context, "train"),
        rows.safety_prompts(context, "train"),
        rules,
        options.composed_per_type,
        options.composed_comply,
        context.settings.seed,
    )
    weights = np.ones((len(training.completions), len(rules.proposition_names)))
    return tune_heads(
        context,
        context.path("base_model"),
        training,
        weights,
        rules.proposition_names,
        options.tuning,
        context.settings.seed,
        output,
    )


def fit_yes_no(context: Context, rules: Rules, output: Path) -> Mapping[str, float]:
    """Choose the prompts and the calibration of a yes/no engine on gold train rows."""
    from rbr.grading.load import make_engine
    from rbr.grading.yesno import fit_prompts, save_prompts

    options = context.settings.grader
    train = rows.gold(context, "train")
    random.Random(context.settings.seed).shuffle(train)
    train = train[: options.prompt_rows]
    engine = make_engine(options, context.path("base_model"))
    save_prompts(output, fit_prompts(engine, rules, train))
    return {"gold_rows": len(train)}
