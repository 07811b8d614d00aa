"""Grading: the probability of each proposition of a completion."""

from rbr.grading.base import Grader
from rbr.grading.head import HeadGrader
from rbr.grading.store import GradeStore, StoredGrader

__all__ = ["GradeStore", "Grader", "HeadGrader", "StoredGrader"]
