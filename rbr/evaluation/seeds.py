"""Several trainings that differ in their seed: pooled over seeds, the seeds' own variance shown apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rbr.errors import DataError
from rbr.evaluation.clusters import Array, interval, resampled, sign_flip_test
from rbr.evaluation.metrics import METRICS, Verdict, cluster_counts, metrics_of, outcomes
from rbr.evaluation.paired import same_prompts


@dataclass(frozen=True)
class Pooled:
    """A metric of several seeds, or its difference to another model's.

    Attributes:
        value: of the prompts' outcomes averaged over the seeds.
        low, high: 95 % interval over prompt families, for these seeds: another prompt set is what it speaks of.
        deviation: between the seeds (n - 1), on the same prompts: another training is what it speaks of;
            None of one seed.
        by_seed: the metric of each seed.
        p_value: of ``sign_flip_test`` against the other model; None where there is none.
    """

    value: float
    low: float
    high: float
    deviation: float | None
    by_seed: tuple[float, ...]
    p_value: float | None = None


def pool(
    seeds: Sequence[Sequence[Verdict]],
    against: Sequence[Verdict] | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, Pooled]:
    """``METRICS`` -> the metric pooled over seeds, or its difference to that of one other model.

    A prompt that several seeds answered is one prompt: it counts once, by its mean over them. Families are
    drawn whole, with all seeds and the other model.

    Args:
        seeds: of each the verdicts on the same prompts in the same order.
        against: the other model's on these prompts.

    Raises:
        DataError: if there is no seed, or the prompts differ.
    """
    if not seeds:
        raise DataError("no seed to pool: give at least one model's verdicts")
    models = [*seeds, *([against] if against is not None else [])]
    counted = [outcomes(rows) for rows in same_prompts(models)]
    sums, second = counted[: len(seeds)], counted[-1] if against is not None else None
    first = np.mean(sums, axis=0)
    sides = [first] if second is None else [first, second]
    points = _less([metrics_of(side.sum(0)[None]) for side in sides])
    drawn = np.split(resampled(np.hstack(sides), bootstrap, seed), len(sides), axis=1)
    samples = _less([metrics_of(side) for side in drawn])
    by_seed = [_less([metrics_of(side.sum(0)[None]) for side in (own, *sides[1:])]) for own in sums]
    p_values = {} if second is None else sign_flip_test(first, second, metrics_of, seed)
    counts = cluster_counts(first)
    result = {}
    for name in METRICS:
        low, high = interval(samples[name], counts[name])
        values = tuple(float(own[name][0]) for own in by_seed)
        deviation = statistics.stdev(values) if len(values) > 1 else None
        result[name] = Pooled(
            float(points[name][0]), low, high, deviation, values, p_values.get(name)
        )
    return result


def _less(
    sides: Sequence[dict[str, Array]],
) -> dict[str, Array]:
    """The one side's metrics, or the first's less the second's."""
    if len(sides) == 1:
        return sides[0]
    return {name: values - sides[1][name] for name, values in sides[0].items()}
