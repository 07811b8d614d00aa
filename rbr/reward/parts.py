"""What each sample's reward is made of, as columns for TRL's ``log_extra``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rbr.rules.algebra import Array

if TYPE_CHECKING:
    from rbr.rules.rules import Rules


def sample_columns(
    rules: Rules,
    terms: Callable[[Array, str], tuple[Array, Array]],
    reward_model: Array,
    probabilities: Array,
    response_types: Sequence[str | None],
) -> dict[str, list[Any]]:
    """Columns of the parts that sum to the rewards of n completions.

    Args:
        terms: of (probabilities, response type) the features phi and the terms w_i phi_i, (n, F) each.
        reward_model: R_rm, (n,).
        probabilities: (n, propositions); rows without a response type are not read.

    Returns:
        ``reward_model``: R_rm; ``contributions``: feature -> w_i phi_i, as JSON text, since tables hold
        no mappings of differing keys; ``completion_class``: the most probable one, None outside the policy.
    """
    contributions: list[dict[str, float]] = [{} for _ in response_types]
    classes: list[str | None] = [None] * len(response_types)
    for kind in sorted({kind for kind in response_types if kind}):
        rows = [i for i, own in enumerate(response_types) if own == kind]
        phi, products = terms(probabilities[rows], kind)
        names, class_names = rules.feature_names(kind), rules.class_names(kind)
        # The class probabilities are the last features.
        likeliest = phi[:, -len(class_names) :].argmax(axis=1)
        for i, row, number in zip(rows, products.tolist(), likeliest, strict=True):
            contributions[i] = dict(zip(names, row, strict=True))
            classes[i] = class_names[number]
    return {
        "reward_model": reward_model.tolist(),
        "contributions": [json.dumps(own) for own in contributions],
        "completion_class": classes,
    }
