"""Weight fitting (section 4.3 of the paper): the hinge loss over within-prompt pairs, to optimality.

    minimise  mean_k max(0, m_k - (R_k + D_k w)) + l2 / 2 * |w|^2,   lower <= w <= upper

with D_k = phi(better) - phi(worse) and R_k the same difference of R_rm. The problem is convex. It is
solved by L-BFGS-B on a smoothed hinge whose smoothing shrinks until the duality gap, which the same
point certifies, is small enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from rbr.errors import DataError
from rbr.rules.algebra import Array


@dataclass(frozen=True)
class Pairs:
    """Within-prompt pairs.

    Attributes:
        better, worse: (pairs,) row indices.
        margin: (pairs,)
    """

    better: NDArray[np.int64]
    worse: NDArray[np.int64]
    margin: Array

    def __len__(self) -> int:
        return len(self.better)

    def where(self, keep: NDArray[np.bool_]) -> Pairs:
        """The pairs that a mask of shape (pairs,) keeps."""
        return Pairs(self.better[keep], self.worse[keep], self.margin[keep])


@dataclass(frozen=True)
class Fit:
    """A solution. ``gap`` is the duality gap relative to the objective: the optimality certificate."""

    weights: Array
    objective: float
    gap: float


def make_pairs(
    prompts: Sequence[str],
    labels: Sequence[str],
    ordering: Sequence[Sequence[str]],
    margin: float = 1.0,
    margins: Mapping[tuple[str, str], float] | None = None,
) -> Pairs:
    """All pairs of one prompt whose labels stand on different ranks; linear in the number of prompts.

    Args:
        prompts, labels: per row.
        ordering: ranks from best to worst, each a list of labels.
        margins: margins other than ``margin``, per (better label, worse label).

    Raises:
        DataError: if a label stands on no rank.
    """
    rank = {label: r for r, group in enumerate(ordering) for label in group}
    unknown = sorted(set(labels) - set(rank))
    if unknown:
        raise DataError(f"labels {unknown} stand on no rank of the ordering {list(rank)}")
    ranks = np.array([rank[label] for label in labels], dtype=np.int64)
    better, worse = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for rows in prompt_rows(prompts):
        first, second = np.nonzero(ranks[rows][:, None] < ranks[rows][None, :])
        better.append(rows[first])
        worse.append(rows[second])
    b, w = np.concatenate(better), np.concatenate(worse)
    sizes = np.full(len(b), margin, dtype=np.float64)
    if margins:
        sizes[:] = [margins.get((labels[i], labels[j]), margin) for i, j in zip(b, w, strict=True)]
    return Pairs(b, w, sizes)


def prompt_rows(prompts: Sequence[str]) -> list[NDArray[np.int64]]:
    """The rows of each prompt, in the order of the prompts' first rows."""
    groups: dict[str, list[int]] = {}
    for i, prompt in enumerate(prompts):
        groups.setdefault(prompt, []).append(i)
    return [np.array(rows, dtype=np.int64) for rows in groups.values()]


def fit_weights(
    features: Array,
    reward_model: Array,
    pairs: Pairs,
    l2: float,
    bounds: Array | None = None,
    tolerance: float = 1e-4,
) -> Fit:
    """Solve the problem above.

    Args:
        features: (n, F), finite.
        reward_model: (n,) R_rm; zeros fit the rule-based reward alone.
        l2: > 0.
        bounds: lower and upper ones of the weights, (2, F); none by default.
        tolerance: relative duality gap at which to stop.

    Raises:
        DataError: on no pairs, or values that are not finite.
    """
    if not len(pairs):
        raise DataError("no pairs to fit weights on: each prompt needs completions of two ranks")
    if not (np.isfinite(features).all() and np.isfinite(reward_model).all()):
        raise DataError("features and R_rm must be finite: grade the comparisons again")
    if l2 <= 0:
        raise DataError(f"l2 must be above 0, got {l2}")
    count = features.shape[1]
    low, high = np.full((count, 2), [-np.inf, np.inf]).T if bounds is None else bounds
    d = features[pairs.better] - features[pairs.worse]
    # What is still missing to the margin at w = 0.
    c = pairs.margin - (reward_model[pairs.better] - reward_model[pairs.worse])
    n = len(pairs)

    def primal(w: Array) -> float:
        return float(np.maximum(0.0, c - d @ w).mean() + 0.5 * l2 * w @ w)

    def dual(w: Array, smoothing: float) -> float:
        alpha = np.clip((c - d @ w) / smoothing + 0.5, 0.0, 1.0) / n
        g = d.T @ alpha
        inner = np.clip(g / l2, low, high)
        return float(alpha @ c + 0.5 * l2 * inner @ inner - g @ inner)

    def smoothed(w: Array, smoothing: float) -> tuple[float, Array]:
        # The hinge's corner becomes a parabola over [-smoothing/2, smoothing/2].
        t = (c - d @ w) / smoothing + 0.5
        inside = np.clip(t, 0.0, 1.0)
        value = np.where(t > 1.0, t - 0.5, 0.5 * inside * inside) * smoothing
        gradient = -(d.T @ inside) / n + l2 * w
        return float(value.mean() + 0.5 * l2 * w @ w), gradient

    w = np.clip(np.zeros(count), low, high)
    best = (primal(w), w, np.inf)
    # One thread: the products are so small that two wait for each other many times longer than they work.
    with threadpool_limits(1):
        for smoothing in 0.5 ** np.arange(0, 24):
            result = minimize(
                smoothed,
                w,
                args=(smoothing,),
                jac=True,
                method="L-BFGS-B",
                bounds=list(zip(low, high, strict=True)),
                options={"maxiter": 2000, "maxcor": 30, "ftol": 1e-13, "gtol": 1e-10},
            )
            w = result.x
            value = primal(w)
            gap = (value - dual(w, smoothing)) / max(abs(value), 1e-12)
            if gap < best[2]:
                best = (value, w, gap)
            if gap <= tolerance:
                break
    return Fit(best[1], best[0], float(best[2]))


def pair_error(rewards: Array, pairs: Pairs) -> float:
    """Share of pairs whose better completion does not get the higher reward (a tie is an error)."""
    if not len(pairs):
        return float("nan")
    return float((rewards[pairs.better] <= rewards[pairs.worse]).mean())
