"""A grader made worse by a known amount: the paper's ablation of the grader's accuracy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from rbr.grading.base import Conversation, Grader, Probabilities, Progress


class NoisyGrader:
    """Inverts a share of another grader's grades: p becomes 1 - p.

    Which ones is drawn from proposition, conversation and completion, so that one completion gets
    the same grades each time, in whatever batch. A proposition on which the grader is right in a share
    a of completions is then right in a (1 - noise) + (1 - a) noise of them.

    Args:
        noise: share of grades, 0 to 0.5 (at 0.5 nothing is left of the grader).
    """

    def __init__(self, grader: Grader, noise: float, seed: int = 0) -> None:
        self.grader = grader
        self._noise = noise
        self._seed = seed
        self.propositions = grader.propositions
        self.thresholds = grader.thresholds

    def identity(self, proposition: str) -> str:
        """See ``Grader.identity``: the inner grader's, with the noise."""
        return f"{self.grader.identity(proposition)} noise {self._noise} seed {self._seed}"

    def grade(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Probabilities:
        """See ``Grader.grade``."""
        grades = self.grader.grade(conversations, completions, progress, propositions).copy()
        names = self.propositions if propositions is None else propositions
        for row, turns, text in zip(grades, conversations, completions, strict=True):
            key = json.dumps([self._seed, [[m.role, m.content] for m in turns], text])
            for column, name in enumerate(names):
                drawn = hashlib.sha256(f"{name}\n{key}".encode()).digest()
                if int.from_bytes(drawn[:7]) < self._noise * 2**56:
                    row[column] = 1.0 - row[column]
        return grades
