"""The reward's grader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.tuning import fit


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
    return fit(context, context.path("base_model"), "grader", context.settings.grader, output)
