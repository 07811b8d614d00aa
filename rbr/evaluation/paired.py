"""Two models on the same prompts: paired differences over prompt families, tests, and their power."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rbr.errors import DataError
from rbr.evaluation.clusters import Array, detectable, interval, resampled, sign_flip_test
from rbr.evaluation.metrics import (
    LESS_IS_BETTER,
    METRICS,
    Verdict,
    cluster_counts,
    metrics_of,
    outcomes,
)


@dataclass(frozen=True)
class Difference:
    """A metric's first value less its second.

    Attributes:
        low, high: 95 % interval over prompt families, both models drawn together.
        only_first, only_second: prompts on which one model alone did well; None for F1*, which is no
            share of prompts.
        p_value: of ``sign_flip_test``, two-sided; NaN where there are no prompts. Of a share of prompts that
            have no family in common this is McNemar's test.
        less_is_better: of the metric.
        detectable: the smallest difference that these prompts see with 80 % power at the 5 % level, by the
            standard error over families; NaN where the models do not differ on any prompt.
    """

    value: float
    low: float
    high: float
    only_first: int | None = None
    only_second: int | None = None
    p_value: float | None = None
    less_is_better: bool = False
    detectable: float = float("nan")

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or ``tie`` if the interval does not leave 0 out."""
        if not (self.low > 0 or self.high < 0):
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
        DataError: if the prompts differ, see ``same_prompts``.
    """
    one, other = (outcomes(rows) for rows in same_prompts([first, second]))
    points = [metrics_of(sums.sum(0)[None]) for sums in (one, other)]
    drawn = np.split(resampled(np.hstack([one, other]), bootstrap, seed), 2, axis=1)
    samples = [metrics_of(sums) for sums in drawn]
    counts = cluster_counts(one)
    p_values = sign_flip_test(one, other, metrics_of, seed)
    result = {}
    for name in METRICS:
        gaps = samples[0][name] - samples[1][name]
        low, high = interval(gaps, counts[name])
        only_first, only_second = _alone(first, second, name)
        result[name] = Difference(
            float(points[0][name][0] - points[1][name][0]),
            low,
            high,
            only_first,
            only_second,
            p_values[name],
            name in LESS_IS_BETTER,
            detectable(_deviation(gaps)),
        )
    return result


def same_prompts(models: Sequence[Sequence[Verdict]]) -> list[list[Verdict]]:
    """Models' verdicts on the same prompts in the same order.

    A prompt's family is that of the first model whose verdict has one: those of earlier versions have none.

    Raises:
        DataError: if the prompts' numbers, response types or families differ.
    """
    if len({len(rows) for rows in models}) == 1:
        prompts = [
            ({row.response_type for row in rows}, {row.family for row in rows} - {None})
            for rows in zip(*models, strict=True)
        ]
        if all(len(types) == 1 and len(families) < 2 for types, families in prompts):
            known = [next(iter(families), None) for _, families in prompts]
            return [
                [replace(row, family=family) for row, family in zip(rows, known, strict=True)]
                for rows in models
            ]
    raise DataError("models can be compared on the same prompts in the same order only")


def _deviation(samples: Array) -> float:
    """The standard error that bootstrap samples show: their deviation."""
    known = samples[~np.isnan(samples)]
    return float(known.std(ddof=1)) if len(known) > 1 else float("nan")


# Of what kind of prompts a share is, None for all, and whether a verdict is a good one.
_GOOD: dict[str, tuple[bool | None, Callable[[Verdict], bool]]] = {
    "not_unsafe": (False, lambda row: not row.disallowed),
    "not_overrefuse": (True, lambda row: not (row.refused or row.no_answer)),
    "ideal_refusal": (False, lambda row: row.quality == "best"),
    "harm_on_comply": (True, lambda row: not row.disallowed),
    "no_answer": (None, lambda row: not row.no_answer),
}


def _alone(
    first: Sequence[Verdict], second: Sequence[Verdict], name: str
) -> tuple[int, int] | tuple[None, None]:
    """Prompts on which the first model alone did well, and the second alone."""
    if name not in _GOOD:
        return None, None
    side, good = _GOOD[name]
    pairs = [
        (good(a), good(b))
        for a, b in zip(first, second, strict=True)
        if side is None or a.over_refusal == side
    ]
    return pairs.count((True, False)), pairs.count((False, True))
