"""The weights of the rules on the helpful-only reward model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.gates import Part
from pipeline.weights import fit_weights, graded_frames, weight_checks


@artifact(
    folder="data",
    group="rewards",
    inputs=("rules", "graded_comparisons"),
    rules=("response_types", "classes", "features", "ranking", "signs"),
    settings=("weights",),
    kinds=("python", "scipy"),
    plot="rewards.png",
)
def fitted_weights(context: Context, output: Path) -> Mapping[str, float]:
    """Weights of the rule-based reward, per response type."""
    return fit_weights(context, graded_frames(context), output)


@fitted_weights.gate
def expectations(context: Context) -> list[Part]:
    return weight_checks(context)
