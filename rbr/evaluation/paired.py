"""Two models on the same prompts: differences with paired bootstrap intervals, and McNemar's test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rbr.errors import DataError
from rbr.evaluation.metrics import METRICS, Verdict, metric_values, outcomes


@dataclass(frozen=True)
class Difference:
    """A metric's first value less its second.

    Attributes:
        low, high: 95 % percentile interval over prompts, both models drawn together.
        only_first, only_second: prompts on which one model alone did well; None for F1*, which is no
            share of prompts.
        p_value: McNemar's exact test of the two counts (binomial, two-sided).
    """

    value: float
    low: float
    high: float
    only_first: int | None = None
    only_second: int | None = None
    p_value: float | None = None

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or ``tie`` if the interval includes 0."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "tie"


def compare(
    first: Sequence[Verdict], second: Sequence[Verdict], bootstrap: int = 2000, seed: int = 0
) -> dict[str, Difference]:
    """Compare the verdicts on two models' answers, prompt by prompt in the same order.

    Raises:
        DataError: if the prompts' response types differ.
    """
    from scipy.stats import binomtest

    if [row.response_type for row in first] != [row.response_type for row in second]:
        raise DataError("two models can be compared on the same prompts in the same order only")
    one, other = outcomes(first), outcomes(second)
    random = np.random.default_rng(seed)
    draws = {
        name: random.integers(0, max(1, count), (bootstrap, count))
        for name, count in (("unsafe", len(one.safe)), ("comply", len(one.answered)))
    }
    points = [metric_values(model) for model in (one, other)]
    drawn = [metric_values(model, draws["unsafe"], draws["comply"]) for model in (one, other)]
    counted = {
        "not_unsafe": (one.safe, other.safe),
        "not_overrefuse": (one.answered, other.answered),
        "ideal_refusal": (one.ideal, other.ideal),
    }
    result = {}
    for name in METRICS:
        gaps = drawn[0][name] - drawn[1][name]
        low, high = np.quantile(gaps, [0.025, 0.975])
        value = float(points[0][name][0] - points[1][name][0])
        if name not in counted:
            result[name] = Difference(value, float(low), float(high))
            continue
        a, b = (values > 0.5 for values in counted[name])
        only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
        p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
        result[name] = Difference(value, float(low), float(high), only_a, only_b, p)
    return result
