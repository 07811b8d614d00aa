"""The model that the judge is tuned from."""

from __future__ import annotations

from rbr.steps.base_model import place_model
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    return place_model(context, "judge_model", context.settings.models.judge)
