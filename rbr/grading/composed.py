"""One grader for some propositions, another for the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rbr.grading.base import (
    Conversation,
    Graded,
    Grader,
    Progress,
    ReasonedGrader,
    graded_with_reasons,
)


class ComposedGrader(ReasonedGrader):
    """See ``Grader``: ``special`` grades the propositions that it has, ``general`` all others.

    A guard knows a few propositions better than any other model, and nothing of the rest.
    """

    def __init__(self, general: Grader, special: Grader) -> None:
        self.general, self.special = general, special
        self.propositions = general.propositions
        limits = dict(zip(general.propositions, general.thresholds, strict=True))
        limits |= zip(special.propositions, special.thresholds, strict=True)
        self.thresholds = np.array([limits[name] for name in self.propositions])

    def load(self) -> None:
        """Load the models now."""
        for grader in (self.general, self.special):
            getattr(grader, "load", lambda: None)()

    def identity(self, proposition: str) -> str:
        """See ``Grader.identity``."""
        return self._of(proposition).identity(proposition)

    def _of(self, proposition: str) -> Grader:
        return self.special if proposition in self.special.propositions else self.general

    def grade_with_reasons(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Graded:
        """See ``ReasonedGrader``."""
        names = self.propositions if propositions is None else tuple(propositions)
        p = np.zeros((len(completions), len(names)))
        reasons = [[""] * len(names) for _ in completions]
        for grader in (self.special, self.general):
            columns = [j for j, name in enumerate(names) if self._of(name) is grader]
            if not columns:
                continue
            own = [names[j] for j in columns]
            graded = graded_with_reasons(grader, conversations, completions, progress, own)
            p[:, columns] = graded.probabilities
            for row, said in zip(reasons, graded.reasons, strict=True):
                for j, reason in zip(columns, said, strict=True):
                    row[j] = reason
        return Graded(p, reasons)
