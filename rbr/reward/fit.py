"""Fitting the weights of one response type, with the paper's checks before RL (section 4.3).

Error: share of held-out (best, other) pairs in the wrong order. Sensitivity: the same error when one
feature is left out, and when the weights are fitted on fewer prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rbr.reward.weights import Array, Fit, Pairs, fit_weights, make_pairs, pair_error, prompt_rows

if TYPE_CHECKING:
    import pandas as pd

    from rbr.reward.options import WeightOptions
    from rbr.rules.rules import Rules

FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Comparisons:
    """Completions of one response type and split.

    Attributes:
        prompts, labels: (n,) names.
        features: (n, F).
        reward_model: (n,) R_rm; zeros for the rule-based reward alone.
        best: (n,) whether the label is of the first rank.
        pairs: all within-prompt pairs.
    """

    prompts: Sequence[str]
    labels: Sequence[str]
    features: Array
    reward_model: Array
    best: NDArray[np.bool_]
    pairs: Pairs

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
        return cls(prompts, labels, features, reward_model, best, pairs)

    @classmethod
    def of(cls, frame: pd.DataFrame, response_type: str, rules: Rules) -> Comparisons:
        """The rows of one response type.

        Args:
            frame: columns ``response_type``, ``prompt_id``, ``label``, ``reward_model``, and features.
        """
        rows = frame[frame["response_type"] == response_type]
        rule = rules.reward[response_type]
        return cls.make(
            rows["prompt_id"].tolist(),
            rows["label"].tolist(),
            rows[rules.feature_names(response_type)].to_numpy(dtype=float),
            rows["reward_model"].to_numpy(dtype=float),
            rule.ordering,
            rule.margin,
            rules.margins(response_type),
        )

    @property
    def ideal_pairs(self) -> Pairs:
        """The pairs whose better completion is of the first rank."""
        return self.pairs.where(self.best[self.pairs.better])

    def without_reward_model(self) -> Comparisons:
        """The same with R_rm at zero."""
        return replace(self, reward_model=np.zeros_like(self.reward_model))

    def fit(self, l2: float, bounds: Array) -> Fit:
        """``fit_weights`` on these comparisons."""
        return fit_weights(self.features, self.reward_model, self.pairs, l2, bounds)

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
class FittedWeights:
    """Fitted weights of one response type, and how well they order held-out pairs.

    Attributes:
        pair_error: share of held-out pairs ordered wrongly by R_rm (``reward_model``), by the rules
            refitted alone (``rbr``), and by R_tot (``total``).
        error_without_feature: that of R_tot refitted without each feature.
        error_by_share_of_prompts: share of train prompts -> errors of R_tot fitted on them.
        histogram: label -> rewards of held-out comparisons, less the mean of the ideal ones.
    """

    weights: dict[str, float]
    pair_error: dict[str, float]
    sign_violations: list[str]
    objective: float
    relative_duality_gap: float
    l2: float
    train_prompts: int
    train_pairs: int
    heldout_pairs: int
    error_without_feature: dict[str, float]
    error_by_share_of_prompts: dict[float, list[float]]
    histogram: dict[str, list[float]]

    def error_rises(self) -> dict[str, float]:
        """How much the error rises without each feature."""
        total = self.pair_error["total"]
        return {name: error - total for name, error in self.error_without_feature.items()}


def fit_response_type(
    frames: Mapping[str, pd.DataFrame],
    response_type: str,
    rules: Rules,
    options: WeightOptions,
    seed: int,
) -> FittedWeights:
    """Fit on ``train``, choose the strength of L2 on ``validation``, and measure on ``eval``.

    Args:
        frames: split -> comparisons, as ``Comparisons.of`` takes them.
    """
    splits = [
        Comparisons.of(frames[split], response_type, rules)
        for split in ("train", "validation", "eval")
    ]
    alone = [comparisons.without_reward_model() for comparisons in splits]
    bounds = weight_bounds(rules, response_type, options)
    rules_fit, _ = fit_path(alone[0], alone[1], options.l2_path, bounds)
    errors = {
        "reward_model": splits[2].error(np.zeros(bounds.shape[1])),
        "rbr": alone[2].error(rules_fit.weights),
    }
    train, validation, heldout = splits if options.reward_model else alone
    fit, l2 = fit_path(train, validation, options.l2_path, bounds)
    errors["total"] = heldout.error(fit.weights)
    names = rules.feature_names(response_type)
    stated = sign_bounds(rules, response_type)
    wrong = (fit.weights < stated[0]) | (fit.weights > stated[1])
    return FittedWeights(
        weights=dict(zip(names, fit.weights.tolist(), strict=True)),
        pair_error=errors,
        sign_violations=[name for name, against in zip(names, wrong, strict=True) if against],
        objective=fit.objective,
        relative_duality_gap=fit.gap,
        l2=l2,
        train_prompts=len(set(train.prompts)),
        train_pairs=len(train.pairs),
        heldout_pairs=len(heldout.ideal_pairs),
        error_without_feature=dict(zip(names, drop_one(train, heldout, l2, bounds), strict=True)),
        error_by_share_of_prompts=prompt_curve(train, heldout, l2, bounds, seed=seed),
        histogram=centred(heldout, fit.weights),
    )


def sign_bounds(rules: Rules, response_type: str) -> Array:
    """Lower and upper bounds of the weights by the signs that the rules state, (2, F)."""
    signs = [rules.sign(response_type, name) for name in rules.feature_names(response_type)]
    lower = [0.0 if sign == "positive" else -np.inf for sign in signs]
    return np.array([lower, [0.0 if sign == "negative" else np.inf for sign in signs]])


def weight_bounds(rules: Rules, response_type: str, options: WeightOptions) -> Array:
    """The bounds that ``options`` fit within, (2, F); fixed weights are 0 where the rules state no sign."""
    bounds = sign_bounds(rules, response_type)
    if options.fixed is not None:
        positive, negative = bounds == 0
        return np.tile(options.fixed * (positive.astype(float) - negative), (2, 1))
    if not options.constrain_signs:
        bounds[:] = [[-np.inf], [np.inf]]
    return bounds


def fit_path(
    train: Comparisons, validation: Comparisons, l2_path: Sequence[float], bounds: Array
) -> tuple[Fit, float]:
    """Fit at each L2 strength; the one of the lowest hinge on validation (on train without any)."""
    held = validation if len(validation.pairs) else train
    fits = [(train.fit(l2, bounds), l2) for l2 in l2_path]
    return min(fits, key=lambda pair: held.hinge(pair[0].weights))


def drop_one(train: Comparisons, heldout: Comparisons, l2: float, bounds: Array) -> list[float]:
    """Held-out error with each feature's weight held at zero and the others fitted again; F values."""
    errors = []
    for feature in range(bounds.shape[1]):
        held = bounds.copy()
        held[:, feature] = 0.0
        errors.append(heldout.error(train.fit(l2, held).weights))
    return errors


def prompt_curve(
    train: Comparisons,
    heldout: Comparisons,
    l2: float,
    bounds: Array,
    fractions: Sequence[float] = FRACTIONS,
    draws: int = 5,
    seed: int = 0,
) -> dict[float, list[float]]:
    """Held-out error after fitting on a fraction of the prompts: ``draws`` values each (one for all).

    At least one prompt is drawn; a draw without pairs has no value.
    """
    names, prompt = np.unique(train.prompts, return_inverse=True)
    random = np.random.default_rng(seed)
    curve: dict[float, list[float]] = {fraction: [] for fraction in fractions}
    for fraction, values in curve.items():
        count = max(1, round(fraction * len(names)))
        for _ in range(draws if count < len(names) else 1):
            chosen = np.isin(prompt, random.permutation(len(names))[:count])
            pairs = train.pairs.where(chosen[train.pairs.better])
            if len(pairs):
                values.append(heldout.error(replace(train, pairs=pairs).fit(l2, bounds).weights))
    return curve


def centred(data: Comparisons, weights: Array) -> dict[str, list[float]]:
    """Rewards by label, less the mean of the prompt's best completions (the paper's histogram).

    Prompts without a best completion have no centre and are left out.
    """
    rewards = data.rewards(weights)
    result: dict[str, list[float]] = {}
    for rows in prompt_rows(data.prompts):
        ideal = rewards[rows[data.best[rows]]]
        for i in rows if len(ideal) else ():
            result.setdefault(data.labels[i], []).append(float(rewards[i] - ideal.mean()))
    return result
