"""Capability of the base model, which every trained one is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.evaluation import CAPABILITY_SOURCES, measure_capability
from pipeline.gates import Part, between, metrics


@artifact(
    folder="data",
    group="evaluation",
    inputs=("base_model",),
    sources=CAPABILITY_SOURCES,
    settings=("evaluation",),
    kinds=("torch",),
    pool="gpu",
)
def base_capability(context: Context, output: Path) -> Mapping[str, float]:
    """Held-out loss of the base model, and items of facts, instructions, arithmetic and reading."""
    return measure_capability(context, {"base": context.path("base_model")}, output)


@base_capability.gate
def expectations(context: Context) -> list[Part]:
    checks = [
        between("base.loss", 0, None, "nats a token"),
        between("base.accuracy.low", 0, 1, "the lower end of a share"),
    ]
    return [Part("capability", metrics(context), checks)]
