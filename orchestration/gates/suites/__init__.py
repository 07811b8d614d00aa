"""What each artifact must be before the next step may read it: frames and their expectations.

One function an artifact, named as it is. Thresholds are the profile's section ``gates``.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestration.gates.suites import data, rewards, training
from orchestration.gates.suites.parts import Part
from orchestration.gates.suites.training import Champion, predecessor
from rbr.steps import STEPS, Context

__all__ = ["SUITES", "Champion", "Part", "predecessor"]

SUITES: dict[str, Callable[[Context], list[Part]]] = {
    name: getattr(module, name)
    for module in (data, rewards, training)
    for name in STEPS
    if hasattr(module, name)
}
