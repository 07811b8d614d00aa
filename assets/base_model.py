"""The policy model before any training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.models import place_model


@artifact(folder="models", group="data", settings=("models",), kinds=("pytorch", "huggingface"))
def base_model(context: Context, output: Path) -> Mapping[str, float]:
    """The policy model before any training."""
    return place_model(context, context.settings.models.policy, output)
