"""The artifacts: one module each, with its declaration, the body that makes it, and its gate."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from pipeline.artifact import Artifact, Declaration
from pipeline.variants import VARIANTS

if TYPE_CHECKING:
    from pipeline.profile import ExternalSet, Settings

__all__ = ["declarations", "graph", "graph_of"]


@cache
def declarations() -> tuple[Declaration, ...]:
    """All declarations, by name."""
    modules = [
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    ]
    return tuple(getattr(module, module.__name__.rpartition(".")[2]) for module in modules)


@cache
def graph(
    variants: Sequence[str], external: Sequence[tuple[str, ExternalSet]] = ()
) -> dict[str, Artifact]:
    """The artifacts of these variants and external evaluation sets by key, inputs first."""
    chosen = [VARIANTS[name] for name in variants]
    artifacts = [
        own for declared in declarations() for own in declared.artifacts(chosen, dict(external))
    ]
    by_key = {artifact.key: artifact for artifact in artifacts}
    order = TopologicalSorter({key: artifact.inputs for key, artifact in by_key.items()})
    return {key: by_key[key] for key in order.static_order()}


def graph_of(settings: Settings) -> dict[str, Artifact]:
    """The artifacts of a profile."""
    return graph(settings.variants, tuple(settings.external_eval.items()))
