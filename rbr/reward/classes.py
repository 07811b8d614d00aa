"""Completion classes (section 4.1 of the paper) of graded completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rbr.rules.algebra import Array, class_scores

if TYPE_CHECKING:
    from rbr.rules.rules import Rules


def class_probabilities(probabilities: Array, rules: Rules, response_type: str) -> Array:
    """Class probabilities of shape (n, classes); each row sums to 1 (uniform where all products vanish).

    Args:
        probabilities: (n, propositions), in the order of ``rules.proposition_names``.
    """
    scores = class_scores(probabilities, rules, response_type)
    total = scores.sum(axis=1, keepdims=True)
    uniform = np.full_like(scores, 1.0 / scores.shape[1])
    return np.where(total > 1e-300, scores / np.where(total > 1e-300, total, 1.0), uniform)


def hard_class(labels: Array, rules: Rules, response_type: str) -> list[str]:
    """The one class of each row of hard labels (0 or 1), of shape (n, propositions)."""
    scores = class_scores(labels, rules, response_type)
    names = rules.class_names(response_type)
    return [names[i] for i in scores.argmax(axis=1)]
