"""Fitting the weights of one response type, with the paper's checks before RL (section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rbr.reward.weight_checks import Bounds, Comparisons, centred, drop_one, fit_path, prompt_curve

if TYPE_CHECKING:
    import pandas as pd

    from rbr.rules.rules import Rules


class FitOptions(Protocol):
    """How weights are fitted.

    Attributes:
        l2_path: strengths of L2 that are tried on validation prompts.
        constrain_signs: whether weights keep the signs that the rules state.
        fixed: no fit: weights of this size with the rules' signs; None fits them.
        reward_model: whether R_rm counts on safety prompts.
    """

    @property
    def l2_path(self) -> tuple[float, ...]: ...

    @property
    def constrain_signs(self) -> bool: ...

    @property
    def fixed(self) -> float | None: ...

    @property
    def reward_model(self) -> bool: ...


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


def sign_bounds(rules: Rules, response_type: str, constrain: bool = True) -> Bounds:
    """Signs that the rules state, as bounds."""
    signs = [rules.sign(response_type, name) for name in rules.feature_names(response_type)]
    lower = [0.0 if constrain and sign == "positive" else -np.inf for sign in signs]
    upper = [0.0 if constrain and sign == "negative" else np.inf for sign in signs]
    return Bounds(np.array(lower), np.array(upper))


def fixed_bounds(rules: Rules, response_type: str, size: float) -> Bounds:
    """Bounds that leave one weight a feature: ``size`` with the rules' sign, 0 where they state none."""
    by_sign = {"positive": size, "negative": -size}
    names = rules.feature_names(response_type)
    weights = np.array([by_sign.get(rules.sign(response_type, name), 0.0) for name in names])
    return Bounds(weights, weights)


def comparisons_of(frame: pd.DataFrame, response_type: str, rules: Rules) -> Comparisons:
    """The rows of one response type: columns of its features, ``prompt_id``, ``label``, ``reward_model``."""
    rows = frame[frame["response_type"] == response_type]
    rule = rules.reward[response_type]
    return Comparisons.make(
        rows["prompt_id"].tolist(),
        rows["label"].tolist(),
        rows[rules.feature_names(response_type)].to_numpy(dtype=float),
        rows["reward_model"].to_numpy(dtype=float),
        rule.ordering,
        rule.margin,
        rules.margins(response_type),
    )


def wrong_signs(rules: Rules, response_type: str, weights: Mapping[str, float]) -> list[str]:
    """Features whose weight is against the sign that the rules state."""
    stated = sign_bounds(rules, response_type)
    limits = zip(weights.items(), stated.lower, stated.upper, strict=True)
    return [name for (name, weight), low, high in limits if not low <= weight <= high]


def fit_response_type(
    frames: Mapping[str, pd.DataFrame],
    response_type: str,
    rules: Rules,
    options: FitOptions,
    seed: int,
) -> FittedWeights:
    """FittedWeights on ``train``, choose the strength of L2 on ``validation``, and measure on ``eval``."""
    splits = ("train", "validation", "eval")
    train, validation, heldout = (
        comparisons_of(frames[split], response_type, rules) for split in splits
    )
    if options.fixed is None:
        bounds = sign_bounds(rules, response_type, options.constrain_signs)
    else:
        bounds = fixed_bounds(rules, response_type, options.fixed)
    alone, _ = fit_path(
        train.without_reward_model(), validation.without_reward_model(), options.l2_path, bounds
    )
    errors = {
        "reward_model": heldout.error(np.zeros(heldout.features.shape[1])),
        "rbr": heldout.without_reward_model().error(alone.weights),
    }
    if not options.reward_model:
        train, validation, heldout = (
            part.without_reward_model() for part in (train, validation, heldout)
        )
    total, l2 = fit_path(train, validation, options.l2_path, bounds)
    errors["total"] = heldout.error(total.weights)
    names = rules.feature_names(response_type)
    weights = {name: float(w) for name, w in zip(names, total.weights, strict=True)}
    without = drop_one(train, heldout, l2, bounds)
    return FittedWeights(
        weights=weights,
        pair_error=errors,
        sign_violations=wrong_signs(rules, response_type, weights),
        objective=total.objective,
        relative_duality_gap=total.gap,
        l2=l2,
        train_prompts=len(set(train.prompts)),
        train_pairs=len(train.pairs),
        heldout_pairs=len(heldout.ideal_pairs),
        error_without_feature=dict(zip(names, without, strict=True)),
        error_by_share_of_prompts=prompt_curve(train, heldout, l2, bounds, seed=seed),
        histogram=centred(heldout, total.weights, rules.reward[response_type].ordering[0]),
    )
