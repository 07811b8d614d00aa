"""What a grader is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rbr.data.rows import Message

Conversation = Sequence[Message]
Probabilities = NDArray[np.float64]
Progress = Callable[[int, int], None]


class Grader(Protocol):
    """Says how probable each proposition is of each completion.

    Attributes:
        identity: changes whenever its answers may; part of the grade store's key.
        propositions: names of the columns of what ``grade`` returns.
    """

    identity: str
    propositions: tuple[str, ...]

    def grade(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
    ) -> Probabilities:
        """Grade completions.

        Args:
            conversations: n conversations, each ending with a user turn.
            completions: n answers.
            progress: called with (done, total) after each batch.

        Returns:
            Probabilities in [0, 1] of shape (n, propositions).
        """
        ...
