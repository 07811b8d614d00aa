"""The class algebra (section 4.1 of the paper): from proposition probabilities to class probabilities.

A conjunction's probability is the product of its terms' (propositions are taken as independent); that
of a negated derived proposition is 1 minus the product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rbr.rules.models import Conjunction
    from rbr.rules.rules import Rules

Array = NDArray[np.float64]


def class_scores(probabilities: Array, rules: Rules, response_type: str) -> Array:
    """Class probabilities before they are normalised.

    Args:
        probabilities: (n, propositions), in the order of ``rules.proposition_names``.

    Returns:
        (n, classes), in the order of ``rules.class_names(response_type)``.
    """
    columns = {name: probabilities[:, i] for i, name in enumerate(rules.proposition_names)}
    scores = [_conjunction(rule, columns, rules) for rule in rules.classes[response_type].values()]
    return np.stack(scores, axis=1)


def _conjunction(rule: Conjunction, columns: dict[str, Array], rules: Rules) -> Array:
    result = np.ones(len(next(iter(columns.values()))))
    for name in rule.all:
        result = result * _column(name, columns, rules)
    for name in rule.none:
        result = result * (1.0 - _column(name, columns, rules))
    return result


def _column(name: str, columns: dict[str, Array], rules: Rules) -> Array:
    if name not in columns:
        columns[name] = _conjunction(rules.derived[name], columns, rules)
    return columns[name]
