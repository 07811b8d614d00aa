"""The reward's grader."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.tuning import tune_heads
from rbr.rules.rules import Rules


@artifact(
    folder="models",
    group="grading",
    inputs=("rules", "base_model", "gold_propositions"),
    rules=("names", "roles", "asked"),
    settings=("grader",),
    kinds=("pytorch", "huggingface"),
    pool="grader",
)
def grader(context: Context, output: Path) -> Mapping[str, float]:
    """The grader, fitted on its share of the gold rows."""
    rules = compiled_rules(context)
    if context.settings.grader.engine != "head":
        return fit_yes_no(context, rules, output)
    return tune_heads(
        context, context.path("base_model"), "grader", context.settings.grader.tuning, output
    )


def fit_yes_no(context: Context, rules: Rules, output: Path) -> Mapping[str, float]:
    """Choose the prompts and the calibration of a yes/no engine on the grader's gold rows."""
    from rbr.grading.load import make_engine
    from rbr.grading.yesno import fit_prompts, save_prompts

    options = context.settings.grader
    train = rows.gold(context, "grader")
    random.Random(context.settings.seed).shuffle(train)
    train = train[: options.prompt_rows]
    engine = make_engine(options, context.path("base_model"))
    save_prompts(output, fit_prompts(engine, rules, train))
    return {"gold_rows": len(train)}
