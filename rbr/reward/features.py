"""Features phi(prompt, completion): proposition probabilities that matter, and the class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rbr.reward.classes import class_probabilities
from rbr.rules.algebra import Array

if TYPE_CHECKING:
    from rbr.rules.rules import Rules


def in_rule_order(probabilities: Array, propositions: Sequence[str], rules: Rules) -> Array:
    """A grader's probabilities, (n, len(propositions)), in the order of ``rules.proposition_names``."""
    return probabilities[:, [list(propositions).index(name) for name in rules.proposition_names]]


def features(
    probabilities: Array, propositions: Sequence[str], rules: Rules, response_type: str
) -> Array:
    """Features of completions of one response type (section 4.2 of the paper).

    Args:
        probabilities: (n, len(propositions)), in [0, 1].

    Returns:
        (n, F), in the order of ``rules.feature_names(response_type)``.
    """
    p = in_rule_order(probabilities, propositions, rules)
    columns = [rules.proposition_names.index(n) for n in rules.reward[response_type].features]
    return np.concatenate([p[:, columns], class_probabilities(p, rules, response_type)], axis=1)
