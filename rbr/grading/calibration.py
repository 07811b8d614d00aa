"""From a score to a probability, and how far off probabilities are."""

from __future__ import annotations

import numpy as np

from rbr.grading.base import Array


def sigmoid(scores: Array) -> Array:
    """The logistic function, clipped where it would overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(scores, -30, 30)))


def platt(scores: Array, target: Array, balance: float = 0.0) -> tuple[float, float]:
    """Slope and offset of a logistic calibration (Platt 1999); arguments of shape (n,).

    (1, 0) where only one class is there. Scores that fall where the labels rise tell nothing that
    carries over: slope 0, so that each probability is the base rate. With ``balance`` b positives weigh
    (negatives / positives)^b more: at 0.5 half-way to a threshold that treats both sides alike, for
    propositions that hold on few rows.
    """
    from scipy.special import logit
    from sklearn.linear_model import LogisticRegression

    if len(target) == 0 or target.min() == target.max():
        return 1.0, 0.0
    positives = (target > 0.5).sum()
    weight = np.where(target > 0.5, ((len(target) - positives) / positives) ** balance, 1.0)
    model = LogisticRegression(C=1.0).fit(scores[:, None], target, sample_weight=weight)
    slope, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope > 0:
        return slope, offset
    # The offset goes with the slope: on scores far from 0 it would make all probabilities 0 or 1.
    return 0.0, float(logit(np.average(target, weights=weight)))


def calibrations(scores: Array, labels: Array, balance: float = 0.0) -> tuple[Array, Array]:
    """Slopes and offsets of all propositions, (propositions,) each; arguments (n, propositions).

    Half-way between a proposition's own calibration and that of all scores taken together: a rare one
    has too few positives for two numbers of its own.
    """
    together = platt(scores.ravel(), labels.ravel(), balance)
    found = []
    for own, target in zip(scores.T, labels.T, strict=True):
        separate = platt(own, target, balance) if target.min() < target.max() else together
        found.append([(a + b) / 2 for a, b in zip(separate, together, strict=True)])
    slope, offset = np.array(found).T
    return slope, offset


# A threshold found on few positives is mostly chance: it counts like so many positives beside them.
USUAL_THRESHOLD, USUAL_POSITIVES = 0.3, 20


def decision_threshold(probability: Array, target: Array) -> float:
    """The probability from which to say yes: the highest mean of accuracy and balanced accuracy.

    Accuracy alone lets a rare proposition go unsaid, balanced accuracy alone says it too often. What is
    found is shrunk towards ``USUAL_THRESHOLD``, the more the fewer positives there are. Arguments of
    shape (n,); ``USUAL_THRESHOLD`` where only one class is there. Never above 0.5.
    """
    p, yes = probability, target > 0.5
    if not yes.any() or yes.all():
        return USUAL_THRESHOLD
    values = np.unique(p)
    candidates = np.r_[0.5, (values[1:] + values[:-1]) / 2]
    candidates = candidates[candidates <= 0.5]
    hit = np.array([(p[yes] >= c).mean() for c in candidates])
    passed = np.array([(p[~yes] < c).mean() for c in candidates])
    share = yes.mean()
    merit = (share * hit + (1 - share) * passed) + (hit + passed) / 2
    best, positives = candidates[merit.argmax()], yes.sum()
    return float(
        (positives * best + USUAL_POSITIVES * USUAL_THRESHOLD) / (positives + USUAL_POSITIVES)
    )


def calibration_error(probability: Array, label: Array, bins: int = 10) -> float:
    """Expected calibration error (Naeini et al. 2015), equal-width bins."""
    index = np.minimum((probability * bins).astype(int), bins - 1)
    total = 0.0
    for b in range(bins):
        inside = index == b
        if inside.any():
            total += inside.mean() * abs(probability[inside].mean() - label[inside].mean())
    return float(total)
