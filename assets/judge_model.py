"""The model that the judge is tuned from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.models import place_model


@artifact(
    folder="models", group="evaluation", settings=("models",), kinds=("pytorch", "huggingface")
)
def judge_model(context: Context, output: Path) -> Mapping[str, float]:
    """What the evaluation's judge is tuned from: another backbone than the grader's."""
    return place_model(context, context.settings.models.judge, output)
