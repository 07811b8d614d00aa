"""Frames with what is expected of them, and the expectations that the suites use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import great_expectations.expectations as gxe
import pandas as pd

from orchestration.gates import frames

Expectation = Any


@dataclass(frozen=True)
class Part:
    """A frame and what is expected of it."""

    name: str
    frame: pd.DataFrame
    expectations: list[Expectation]


def between(column: str, low: float | None, high: float | None, why: str) -> Expectation:
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, notes=why
    )


def present(*columns: str) -> list[Expectation]:
    return [gxe.ExpectColumnValuesToNotBeNull(column=column) for column in columns]


def unique(*columns: str) -> list[Expectation]:
    return [gxe.ExpectColumnValuesToBeUnique(column=column) for column in columns]


def one_of(column: str, values: Any, why: str = "") -> Expectation:
    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(values), notes=why)


def no_leak(frame: pd.DataFrame) -> Part:
    """No family of prompts is in two splits."""
    why = "a family in two splits would leak what was trained on into the evaluation"
    return Part("families", frames.leaks(frame), [between("splits", 1, 1, why)])
