"""The interface of graders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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
class Graded:
    """Grades with what the grader says of them.

    Attributes:
        probabilities: see ``Grader.grade``.
        reasons: (n, propositions); '' where the grader gives none.
    """

    probabilities: Probabilities
    reasons: Sequence[Sequence[str]]

    def reasons_of(self, row: int, propositions: Sequence[str]) -> dict[str, str]:
        """The reasons of one completion, by proposition."""
        pairs = zip(propositions, self.reasons[row], strict=True)
        return {name: reason for name, reason in pairs if reason}


class ReasonedGrader(ABC):
    """A ``Grader`` that gives reasons: ``grade`` leaves them out."""

    @abstractmethod
    def grade_with_reasons(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Graded:
        """Grades with reasons; arguments and errors as of ``Grader.grade``."""

    def grade(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Probabilities:
        """See ``Grader.grade``."""
        return self.grade_with_reasons(
            conversations, completions, progress, propositions
        ).probabilities


def graded_with_reasons(
    grader: Grader,
    conversations: Sequence[Conversation],
    completions: Sequence[str],
    progress: Progress | None = None,
    propositions: Sequence[str] | None = None,
) -> Graded:
    """The grades of any grader, with reasons where it gives them (``grade_with_reasons``)."""
    further = {"progress": progress, "propositions": propositions}
    given: dict[str, Any] = {name: value for name, value in further.items() if value is not None}
    method = getattr(grader, "grade_with_reasons", None)
    if method is not None:
        graded: Graded = method(conversations, completions, **given)
        return graded
    names = grader.propositions if propositions is None else propositions
    p = grader.grade(conversations, completions, **given)
    return Graded(p, [[""] * len(names) for _ in completions])


def usage_metrics(grader: Grader) -> dict[str, float]:
    """What a grader's requests to chat models took, as metrics ``grading_*``; empty where it sends none."""
    found: dict[str, float] = {}
    todo: list[Any] = [grader]
    while todo:
        one = todo.pop()
        client = getattr(one, "client", None)
        if client is not None:
            for name, value in client.usage.metrics("grading", client.prices).items():
                found[name] = found.get(name, 0.0) + value
        inner = (getattr(one, name, None) for name in ("grader", "general", "special"))
        todo += [each for each in inner if each is not None]
    return found


@dataclass(frozen=True)
class Request:
    """Completions that are graded together, by these propositions."""

    conversations: tuple[Conversation, ...]
    completions: tuple[str, ...]
    propositions: tuple[str, ...]
