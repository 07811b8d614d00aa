"""Inference over clusters: prompts of a family are alike, so families are drawn, not prompts.

A prompt without a family is a cluster of its own. With such prompts alone all of this is the ordinary
bootstrap over prompts, and ``sign_flip_test`` McNemar's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FLIPS = 9999
# Differences of fewer clusters than this are flipped in every way, and the p-value is exact.
EXACT = 13
# Of a matrix of draws that is in memory at a time.
CELLS = 4_000_000


def totals(values: Array, families: Sequence[str | None]) -> Array:
    """Sums within each cluster, in the order of their first rows: (n, columns) -> (clusters, columns)."""
    numbers: dict[object, int] = {}
    for row, family in enumerate(families):
        numbers.setdefault(row if family is None else family, len(numbers))
    index = [numbers[row if family is None else family] for row, family in enumerate(families)]
    result = np.zeros((len(numbers), values.shape[1]))
    np.add.at(result, index, values)
    return result


def resampled(sums: Array, count: int, seed: int = 0) -> Array:
    """Totals over clusters drawn with replacement: (clusters, columns) -> (count, columns)."""
    random, clusters = np.random.default_rng(seed), len(sums)

    def drawn(rows: int) -> Array:
        # Counts, not rows: a matrix product then sums them.
        chosen = random.integers(0, clusters, (rows, clusters))
        chosen += np.arange(rows)[:, None] * clusters
        counts = np.bincount(chosen.ravel(), minlength=rows * clusters)
        return counts.reshape(rows, clusters).astype(float)

    return np.concatenate([drawn(rows) @ sums for rows in _portions(count, clusters)])


def _portions(count: int, width: int) -> list[int]:
    """``count`` rows of this width in portions of at most ``CELLS`` cells."""
    step = max(1, CELLS // max(1, width))
    return [min(step, count - start) for start in range(0, count, step)]


def interval(samples: Array, clusters: int) -> tuple[float, float]:
    """The 95 % interval of bootstrap samples: percentiles, expanded for few clusters.

    Percentile intervals are too narrow by the factor of the deviation's own estimate: the normal quantile
    stands where Student's should, and n where n - 1 (Hesterberg 2015, section 4.3). Samples that are not a
    number, draws without a prompt of the kind, are left out; of one cluster alone, which says nothing of how
    clusters differ, the interval is the value itself.
    """
    from scipy.special import ndtr, stdtrit

    known = samples[~np.isnan(samples)]
    if not len(known):
        return float("nan"), float("nan")
    tail = 0.025
    if clusters > 1:
        tail = float(ndtr(-np.sqrt(clusters / (clusters - 1)) * stdtrit(clusters - 1, 0.975)))
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def ratio(
    numerators: Sequence[float] | Array,
    denominators: Sequence[float] | Array,
    families: Sequence[str | None],
    bootstrap: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """A ratio of sums over rows, (n,) each, with its 95 % interval; NaN where the denominators sum to 0."""
    sums = totals(np.column_stack([numerators, denominators]).astype(float), families)
    value = _divided(sums.sum(0))
    samples = _divided(resampled(sums, bootstrap, seed))
    return float(value), *interval(samples, int(np.count_nonzero(sums[:, 1])))


def mean(
    values: Sequence[float] | Array,
    families: Sequence[str | None],
    bootstrap: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """The mean of rows, or the share of which something holds, with its 95 % interval."""
    return ratio(values, np.ones(len(values)), families, bootstrap, seed)


def wilson(count: int, rows: int) -> tuple[float, float, float]:
    """A share of independent rows, with its 95 % interval by Wilson (1927), which has a width at 0 and 1 too."""
    from scipy.stats import binomtest

    ends = binomtest(count, rows).proportion_ci(method="wilson")
    return count / rows, float(ends.low), float(ends.high)


def _divided(sums: Array) -> Array:
    over, under = sums[..., 0], sums[..., 1]
    return np.divide(over, under, out=np.full(under.shape, np.nan), where=under != 0)


def sign_flip_test(
    first: Array,
    second: Array,
    statistic: Callable[[Array], Mapping[str, Array]],
    seed: int = 0,
) -> dict[str, float]:
    """Two-sided p-value of each statistic's difference between two paired samples.

    If the two do not differ, either may have given either's results: all results of a cluster are exchanged
    or none, which keeps what is alike within it. In every way where few clusters differ, else ``FLIPS`` times
    at random.

    Args:
        first, second: totals of the same clusters, (clusters, columns).
        statistic: totals over all clusters, (draws, columns) -> name -> values, (draws,).
    """
    half = (first - second) / 2
    differing = np.any(half != 0, axis=1)
    half, count = half[differing], int(differing.sum())
    middle = (first + second).sum(0) / 2
    if count < EXACT:
        moved = (1.0 - 2 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)) @ half
    else:
        random = np.random.default_rng(seed)
        moved = np.concatenate(
            [(1.0 - 2 * random.integers(0, 2, (n, count))) @ half for n in _portions(FLIPS, count)]
        )
    found = half.sum(0)[None]
    one, other = statistic(middle + found), statistic(middle - found)
    ones, others = statistic(middle + moved), statistic(middle - moved)
    result = {}
    for name in one:
        observed = float(abs(one[name] - other[name])[0])
        # Sums in another order differ in their last bits.
        extreme = int(np.sum(abs(ones[name] - others[name]) >= observed - 1e-9))
        exact = count < EXACT
        result[name] = extreme / len(moved) if exact else (extreme + 1) / (FLIPS + 1)
        if np.isnan(observed):
            result[name] = float("nan")
    return result


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the same order; NaN is no test, and stays."""
    tested = [place for place, p in enumerate(p_values) if not np.isnan(p)]
    result, reached = [float(p) for p in p_values], 0.0
    for rank, place in enumerate(sorted(tested, key=lambda place: p_values[place])):
        reached = max(reached, min(1.0, (len(tested) - rank) * p_values[place]))
        result[place] = reached
    return result


def detectable(standard_error: float, power: float = 0.8, level: float = 0.05) -> float:
    """The smallest difference that a two-sided test sees with this power; NaN without an error.

    ``(z(1 - level / 2) + z(power)) * standard_error``: 2.8 standard errors by default.
    """
    from scipy.special import ndtri

    quantiles = ndtri(1 - level / 2) + ndtri(power)
    return float(quantiles * standard_error) if standard_error > 0 else float("nan")
