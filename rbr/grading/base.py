"""The interface of graders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rbr.data.rows import Conversation

Array = NDArray[np.float64]
Probabilities = Array
Progress = Callable[[int, int], None]


class Grader(Protocol):
    """Grades the probability of each proposition for each completion.

    Attributes:
        propositions: names of the columns of what ``grade`` returns by default.
        thresholds: (propositions,), the probability from which each holds.
    """

    propositions: tuple[str, ...]
    thresholds: Probabilities

    def identity(self, proposition: str) -> str:
        """Changes whenever its grades of this proposition may; part of the grade store's key."""
        ...

    def grade(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Probabilities:
        """Grade completions. It may be stopped (Ctrl-C) between batches.

        Args:
            conversations: n conversations, each ending with a user turn.
            completions: n answers.
            progress: called with (done, total) after each batch.
            propositions: grade these alone, in this order; all by default.

        Returns:
            Probabilities in [0, 1] of shape (n, propositions).

        Raises:
            GraderError: naming the completion that could not be graded.
        """
        ...


@dataclass(frozen=True)
class Request:
    """Completions that are graded together, by these propositions."""

    conversations: tuple[Conversation, ...]
    completions: tuple[str, ...]
    propositions: tuple[str, ...]
