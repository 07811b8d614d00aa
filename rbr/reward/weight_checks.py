"""The checks that the paper makes of fitted weights before RL (section 4.3, its figures and ablations).

Error: share of held-out (best, other) pairs in the wrong order. Sensitivity: the same error when one
feature is left out, and when the weights are fitted on fewer prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rbr.reward.weights import Array, Fit, Pairs, fit_weights, make_pairs, pair_error

FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Comparisons:
    """Completions of one response type and split.

    Attributes:
        prompts, labels: (n,) names.
        features: (n, F).
        reward_model: (n,) R_rm; zeros for the rule-based reward alone.
        pairs: all within-prompt pairs.
        ideal_pairs: those whose better completion is of the first rank.
    """

    prompts: tuple[str, ...]
    labels: tuple[str, ...]
    features: Array
    reward_model: Array
    pairs: Pairs
    ideal_pairs: Pairs

    @classmethod
    def make(
        cls,
        prompts: Sequence[str],
        labels: Sequence[str],
        features: Array,
        reward_model: Array,
        ordering: Sequence[Sequence[str]],
        margin: float = 1.0,
        margins: Mapping[tuple[str, str], float] | None = None,
    ) -> Comparisons:
        """Make the pairs; see ``make_pairs``."""
        pairs = make_pairs(prompts, labels, ordering, margin, margins)
        best = np.array([label in ordering[0] for label in labels], dtype=bool)
        ideal = pairs.where(best[pairs.better])
        return cls(tuple(prompts), tuple(labels), features, reward_model, pairs, ideal)

    def without_reward_model(self) -> Comparisons:
        """The same with R_rm at zero."""
        return replace(self, reward_model=np.zeros_like(self.reward_model))

    def rewards(self, weights: Array) -> Array:
        """R_tot, (n,)."""
        return self.reward_model + self.features @ weights

    def error(self, weights: Array) -> float:
        """Share of (best, other) pairs in the wrong order; NaN without pairs."""
        return pair_error(self.rewards(weights), self.ideal_pairs)

    def hinge(self, weights: Array) -> float:
        """Mean hinge loss over all pairs."""
        rewards = self.rewards(weights)
        gap = self.pairs.margin - (rewards[self.pairs.better] - rewards[self.pairs.worse])
        return float(np.maximum(0.0, gap).mean())


@dataclass(frozen=True)
class Bounds:
    """Lower and upper bounds of the weights, (F,)."""

    lower: Array
    upper: Array

    def without(self, feature: int) -> Bounds:
        """The same, with one weight held at zero."""
        lower, upper = self.lower.copy(), self.upper.copy()
        lower[feature] = upper[feature] = 0.0
        return Bounds(lower, upper)


def fit_path(
    train: Comparisons, validation: Comparisons, l2_path: Sequence[float], bounds: Bounds
) -> tuple[Fit, float]:
    """Fit at each L2 strength; the one of the lowest hinge on validation (on train without any)."""
    held = validation if len(validation.pairs) else train
    fits = [(fit(train, l2, bounds), l2) for l2 in l2_path]
    return min(fits, key=lambda pair: held.hinge(pair[0].weights))


def fit(train: Comparisons, l2: float, bounds: Bounds, pairs: Pairs | None = None) -> Fit:
    """``fit_weights`` on these comparisons (or on these of their pairs)."""
    return fit_weights(
        train.features,
        train.reward_model,
        train.pairs if pairs is None else pairs,
        l2,
        bounds.lower,
        bounds.upper,
    )


def drop_one(train: Comparisons, heldout: Comparisons, l2: float, bounds: Bounds) -> list[float]:
    """Held-out error with each feature left out and the others fitted again; F values."""
    return [
        heldout.error(fit(train, l2, bounds.without(i)).weights)
        for i in range(train.features.shape[1])
    ]


def prompt_curve(
    train: Comparisons,
    heldout: Comparisons,
    l2: float,
    bounds: Bounds,
    fractions: Sequence[float] = FRACTIONS,
    draws: int = 5,
    seed: int = 0,
) -> dict[float, list[float]]:
    """Held-out error after fitting on a fraction of the prompts: ``draws`` values each (one for all).

    At least one prompt is drawn; a draw without pairs has no value.
    """
    names = sorted(set(train.prompts))
    member = np.array([names.index(p) for p in train.prompts])
    random = np.random.default_rng(seed)
    curve: dict[float, list[float]] = {}
    for fraction in fractions:
        count = max(1, round(fraction * len(names)))
        values = []
        for _ in range(draws if count < len(names) else 1):
            chosen: NDArray[np.bool_] = np.zeros(len(names), dtype=bool)
            chosen[random.permutation(len(names))[:count]] = True
            pairs = train.pairs.where(chosen[member][train.pairs.better])
            if len(pairs):
                values.append(heldout.error(fit(train, l2, bounds, pairs).weights))
        curve[fraction] = values
    return curve


def centred(data: Comparisons, weights: Array, best: Sequence[str]) -> dict[str, list[float]]:
    """Rewards by label, less the mean of the prompt's best completions (the paper's histogram).

    Prompts without a best completion have no centre and are left out.
    """
    rewards = data.rewards(weights)
    groups: dict[str, list[int]] = {}
    for i, prompt in enumerate(data.prompts):
        groups.setdefault(prompt, []).append(i)
    result: dict[str, list[float]] = {}
    for rows in groups.values():
        ideal = [rewards[i] for i in rows if data.labels[i] in best]
        if not ideal:
            continue
        centre = float(np.mean(ideal))
        for i in rows:
            result.setdefault(data.labels[i], []).append(float(rewards[i]) - centre)
    return result
