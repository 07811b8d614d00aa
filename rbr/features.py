"""Features phi(prompt, completion): proposition probabilities that matter, and the class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rbr.classes import class_probabilities
from rbr.grading.consistency import under_policy

if TYPE_CHECKING:
    from rbr.rules import Rules

Array = NDArray[np.float64]


def graded(
    probabilities: Array, propositions: Sequence[str], rules: Rules, response_type: str
) -> Array:
    """A grader's probabilities in the order of ``rules.proposition_names``, under the policy.

    Args:
        probabilities: (n, len(propositions)), in [0, 1].
    """
    order = [list(propositions).index(name) for name in rules.proposition_names]
    return under_policy(probabilities[:, order], rules.proposition_names, response_type)


def features(
    probabilities: Array, propositions: Sequence[str], rules: Rules, response_type: str
) -> Array:
    """Features of completions of one response type (section 4.2 of the paper).

    Args:
        probabilities: (n, len(propositions)), in [0, 1].

    Returns:
        (n, F), in the order of ``rules.feature_names(response_type)``.
    """
    p = graded(probabilities, propositions, rules, response_type)
    column = {name: i for i, name in enumerate(rules.proposition_names)}
    names = rules.feature_names(response_type)
    plain = [column[name] for name in names if not name.startswith("class:")]
    classes = class_probabilities(p, rules, response_type)
    return np.concatenate([p[:, plain], classes], axis=1)
