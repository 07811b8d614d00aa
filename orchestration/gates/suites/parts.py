"""Frames with what is expected of them, and the expectations that the suites use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import great_expectations.expectations as gxe
import pandas as pd

from orchestration.gates import frames

Expectation = Any
NotNull = gxe.ExpectColumnValuesToNotBeNull
LIMITS = (gxe.ExpectColumnValuesToBeBetween, gxe.ExpectColumnValuesToBeInSet)


@dataclass(frozen=True)
class Part:
    """A frame and what is expected of it."""

    name: str
    frame: pd.DataFrame
    expectations: list[Expectation]

    @property
    def checked(self) -> list[Expectation]:
        """The expectations, and that no value they set limits to is missing.

        Great Expectations passes over what is missing: the KL of a training that broke down is NaN, and
        would be within any limit. Counts and comparisons need no such check: their columns hold no NaN.
        """
        required = {e.column for e in self.expectations if isinstance(e, NotNull)}
        limited = dict.fromkeys(e.column for e in self.expectations if isinstance(e, LIMITS))
        return [
            *self.expectations,
            *present(
                *(c for c in limited if c not in required and self.frame[c].dtype.kind not in "biu")
            ),
        ]


def between(column: str, low: float | None, high: float | None, why: str) -> Expectation:
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, notes=why
    )


def present(*columns: str) -> list[Expectation]:
    return [NotNull(column=column) for column in columns]


def unique(*columns: str) -> list[Expectation]:
    return [gxe.ExpectColumnValuesToBeUnique(column=column) for column in columns]


def one_of(column: str, values: Any, why: str = "") -> Expectation:
    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(values), notes=why)


def no_leak(frame: pd.DataFrame) -> Part:
    """No family of prompts is in two splits."""
    why = "a family in two splits would leak what was trained on into the evaluation"
    return Part("families", frames.leaks(frame), [between("splits", 1, 1, why)])


def no_empty_split(frame: pd.DataFrame, splits: Sequence[str]) -> Part:
    """Each split has rows."""
    why = "what is fitted or measured on a split without rows says nothing"
    return Part("splits", frames.sizes(frame, splits), [between("rows", 1, None, why)])
