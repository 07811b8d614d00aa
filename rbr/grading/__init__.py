"""Grading: the probability of each proposition of a completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbr.grading.base import Grader
    from rbr.grading.head import HeadGrader
    from rbr.grading.store import GradeStore, StoredGrader

__all__ = ["GradeStore", "Grader", "HeadGrader", "StoredGrader"]
_MODULES = {"Grader": "base", "HeadGrader": "head", "GradeStore": "store", "StoredGrader": "store"}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: a profile names graders without loading torch."""
    import importlib

    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
