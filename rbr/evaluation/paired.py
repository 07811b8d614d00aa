"""Two models on the same prompts: differences with paired bootstrap intervals, and McNemar's test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rbr.errors import DataError
from rbr.evaluation.metrics import LESS_IS_BETTER, METRICS, Outcomes, Verdict, interval


@dataclass(frozen=True)
class Difference:
    """A metric's first value less its second.

    Attributes:
        low, high: 95 % percentile interval over prompts, both models drawn together.
        only_first, only_second: prompts on which one model alone did well; None for F1*, which is no
            share of prompts.
        less_is_better: of the metric.
        p_value: McNemar's exact test of the two counts (binomial, two-sided).
    """

    value: float
    low: float
    high: float
    only_first: int | None = None
    only_second: int | None = None
    p_value: float | None = None
    less_is_better: bool = False

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or ``tie`` if the interval includes 0."""
        if self.low <= 0 <= self.high:
            return "tie"
        return "better" if (self.low > 0) != self.less_is_better else "worse"


def share_change(before: Sequence[bool], after: Sequence[bool]) -> tuple[float, float, float]:
    """How a share of the same items changes from one model to another, with its 95 % interval.

    The interval is Wald's with half an item added to each cell of the 2 x 2 table (Agresti and Min 2005),
    which keeps its level where the models differ on few items; the value is the plain difference.

    Raises:
        DataError: if the items are not the same number, or none.
    """
    if len(before) != len(after) or not before:
        raise DataError("two models can be compared on the same items in the same order only")
    pairs = list(zip(before, after, strict=True))
    gained, lost = pairs.count((False, True)) + 0.5, pairs.count((True, False)) + 0.5
    count = len(pairs) + 2
    middle = (gained - lost) / count
    half = 1.96 * math.sqrt((gained + lost) / count - middle**2) / math.sqrt(count)
    return (gained - lost) / len(pairs), middle - half, middle + half


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
    one, other = Outcomes.of(first), Outcomes.of(second)
    points, samples = (
        [model.metrics(draws) for model in (one, other)]
        for draws in (one.rows(), one.draws(bootstrap, seed))
    )
    shares = {
        "not_unsafe": (one.safe, other.safe),
        "not_overrefuse": (one.answered, other.answered),
        "ideal_refusal": (one.ideal, other.ideal),
        "harm_on_comply": (one.harmless, other.harmless),
    }
    result = {}
    for name in METRICS:
        value = float(points[0][name][0] - points[1][name][0])
        ends = interval(samples[0][name] - samples[1][name])
        difference = Difference(value, *ends, less_is_better=name in LESS_IS_BETTER)
        if name in shares:
            a, b = (values > 0.5 for values in shares[name])
            only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
            p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
            difference = replace(difference, only_first=only_a, only_second=only_b, p_value=p)
        result[name] = difference
    return result
