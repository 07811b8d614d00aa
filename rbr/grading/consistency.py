"""What holds between propositions whatever a grader says.

Heads are fitted apart, so their probabilities may contradict each other; the rules that gold labels
must keep (``rbr.data.gold``) are imposed on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rbr.data.gold import EXCLUDES, IMPLIES
from rbr.grading.base import Array


def consistent(probabilities: Array, propositions: Sequence[str]) -> Array:
    """Probabilities that keep implications (P(effect) >= P(cause)) and exclusions (sum <= 1).

    Args:
        probabilities: (n, len(propositions)).
    """
    column = {name: i for i, name in enumerate(propositions)}
    result = probabilities.copy()
    for cause, effect in IMPLIES:
        if cause in column and effect in column:
            a, b = column[cause], column[effect]
            result[:, b] = np.maximum(result[:, b], result[:, a])
    for one, other in EXCLUDES:
        if one in column and other in column:
            a, b = column[one], column[other]
            # The excess is taken from both, so that neither head is trusted above the other.
            excess = np.maximum(0.0, result[:, a] + result[:, b] - 1.0) / 2
            result[:, a] -= excess
            result[:, b] -= excess
    return result


def mask_disallowed_on_comply(
    probabilities: Array, propositions: Sequence[str], response_type: str
) -> Array:
    """What the policy adds: on a request that it complies with nothing is disallowed."""
    result = probabilities.copy()
    if response_type == "comply":
        result[:, list(propositions).index("disallowed_content")] = 0.0
    return result
