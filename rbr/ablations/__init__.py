"""Ablations: what is changed (``ablations/*.yaml``), and how what came out is compared."""

from rbr.ablations.compare import Comparison, Result, compare, draw, markdown
from rbr.ablations.spec import Ablation, Arm, Paper, Point, changed_profile, read_ablations

__all__ = [
    "Ablation",
    "Arm",
    "Comparison",
    "Paper",
    "Point",
    "Result",
    "changed_profile",
    "compare",
    "draw",
    "markdown",
    "read_ablations",
]
