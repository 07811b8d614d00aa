"""The artifacts: one module each, with its declaration, the body that makes it, and its gate."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from graphlib import TopologicalSorter

from pipeline.artifact import Artifact, Declaration
from pipeline.variants import VARIANTS

__all__ = ["declarations", "graph"]


@cache
def declarations() -> tuple[Declaration, ...]:
    """All declarations, by name."""
    modules = [
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    ]
    return tuple(getattr(module, module.__name__.rpartition(".")[2]) for module in modules)


@cache
def graph(variants: Sequence[str]) -> dict[str, Artifact]:
    """The artifacts of these variants by key, inputs first."""
    chosen = [VARIANTS[name] for name in variants]
    artifacts = [own for declared in declarations() for own in declared.artifacts(chosen)]
    by_key = {artifact.key: artifact for artifact in artifacts}
    order = TopologicalSorter({key: artifact.inputs for key, artifact in by_key.items()})
    return {key: by_key[key] for key in order.static_order()}
