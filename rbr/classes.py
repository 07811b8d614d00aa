"""The class algebra (section 4.1 of the paper): from proposition probabilities to class probabilities.

A conjunction's probability is the product of its terms' (propositions are taken as independent); that
of a negated derived proposition is 1 minus the product; the five are normalised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rbr.rules.models import Conjunction
    from rbr.rules.rules import Rules

Array = NDArray[np.float64]


def _conjunction(rule: Conjunction, columns: dict[str, Array], rules: Rules, size: int) -> Array:
    result = np.ones(size)
    for name in rule.all:
        result = result * _term(name, columns, rules, size)
    for name in rule.none:
        result = result * (1.0 - _term(name, columns, rules, size))
    return result


def _term(name: str, columns: dict[str, Array], rules: Rules, size: int) -> Array:
    if name not in columns:
        columns[name] = _conjunction(rules.derived[name], columns, rules, size)
    return columns[name]


def class_scores(probabilities: Array, rules: Rules, response_type: str) -> Array:
    """Unnormalised class probabilities.

    Args:
        probabilities: (n, propositions), in the order of ``rules.proposition_names``.

    Returns:
        (n, 5), in the order of ``rules.class_names``.
    """
    columns = {name: probabilities[:, i] for i, name in enumerate(rules.proposition_names)}
    classes = rules.classes[response_type]
    return np.stack(
        [
            _conjunction(classes[name], columns, rules, len(probabilities))
            for name in rules.class_names
        ],
        axis=1,
    )


def class_probabilities(probabilities: Array, rules: Rules, response_type: str) -> Array:
    """Class probabilities of shape (n, 5); each row sums to 1 (uniform where all products vanish)."""
    scores = class_scores(probabilities, rules, response_type)
    total = scores.sum(axis=1, keepdims=True)
    uniform = np.full_like(scores, 1.0 / scores.shape[1])
    return np.where(total > 1e-300, scores / np.where(total > 1e-300, total, 1.0), uniform)


def hard_class(labels: Array, rules: Rules, response_type: str) -> list[str]:
    """The one class of each row of hard labels (0 or 1), of shape (n, propositions)."""
    scores = class_scores(labels, rules, response_type)
    return [rules.class_names[i] for i in scores.argmax(axis=1)]
