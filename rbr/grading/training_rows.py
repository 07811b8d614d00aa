"""The rows that heads are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbr.data.rows import Conversation


@dataclass(frozen=True)
class TrainingRows:
    """Rows to fit on; all fields are of the same length.

    Attributes:
        true: names of the true propositions.
        groups: one name a conversation.
        is_gold: whether a person labelled the row.
    """

    conversations: list[Conversation]
    completions: list[str]
    true: list[tuple[str, ...]]
    response_types: list[str]
    groups: list[str]
    is_gold: NDArray[np.bool_]

    def labels(self, propositions: Sequence[str]) -> NDArray[np.float64]:
        """Labels of shape (n, propositions), 0 or 1."""
        return np.array([[float(name in row) for name in propositions] for row in self.true])
