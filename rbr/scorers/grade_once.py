"""One grading a row, however many scorers ask for it, and from however many threads."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence

import numpy as np

from rbr.errors import GraderError
from rbr.grading.base import Conversation, Grader, Probabilities, Progress

# MLflow runs scorers in threads, but models and tokenizers are not made to be entered twice: one
# lock for all graders and reward models of the process. Reentrant, since a reward grades inside it.
GRADING = threading.RLock()


class GradeOnce:
    """A grader that grades a completion once and remembers it. As ``Grader`` asks; thread-safe.

    Give one to all scorers that are to share grades. It asks the grader for one completion at a
    time, so that an error names its row. A row that failed is not tried again: every scorer of that
    row gets the same error, and 23 of them do not wait for 23 timeouts.

    Args:
        grader: grades what is not remembered.
        keep: rows remembered; the oldest go first.
    """

    def __init__(self, grader: Grader, keep: int = 4096) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}: at least 1 row must be kept")
        self.grader = grader
        self.propositions = grader.propositions
        self.thresholds = grader.thresholds
        self._keep = keep
        self._known: dict[bytes, Probabilities | GraderError] = {}

    @classmethod
    def of(cls, grader: Grader) -> GradeOnce:
        """The grader itself if it is one already."""
        return grader if isinstance(grader, cls) else cls(grader)

    def identity(self, proposition: str) -> str:
        """See ``Grader.identity``."""
        return self.grader.identity(proposition)

    def grade(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Probabilities:
        """See ``Grader.grade``.

        Raises:
            GraderError: if the grader raises anything, or gives what is no probability.
        """
        names = self.propositions if propositions is None else propositions
        columns = [self.propositions.index(name) for name in names]
        result = np.zeros((len(completions), len(columns)))
        for i, (conversation, completion) in enumerate(
            zip(conversations, completions, strict=True)
        ):
            result[i] = self._row(conversation, completion)[columns]
            if progress:
                progress(i + 1, len(completions))
        return result

    def _row(self, conversation: Conversation, completion: str) -> Probabilities:
        """Probabilities of shape (propositions,)."""
        talk = [[m.role, m.content] for m in conversation]
        # JSON escapes a lone surrogate, which plain UTF-8 would refuse.
        key = hashlib.sha256(json.dumps([talk, completion]).encode()).digest()
        # A known row is not held up by another row's grading.
        known = self._known.get(key)
        if known is None:
            with GRADING:
                known = self._known.get(key)
                if known is None:
                    known = self._ask(conversation, completion)
                    while len(self._known) >= self._keep:
                        del self._known[next(iter(self._known))]
                    self._known[key] = known
        if isinstance(known, GraderError):
            raise known
        return known

    def _ask(self, conversation: Conversation, completion: str) -> Probabilities | GraderError:
        start = completion if len(completion) <= 60 else f"{completion[:60]}…"
        try:
            graded = self.grader.grade([conversation], [completion])
        except GraderError as error:
            return error
        except Exception as error:
            told = GraderError(f"no grades of '{start}': {type(error).__name__}: {error}")
            told.__cause__ = error
            return told
        # Written so that NaN fails too.
        if graded.shape != (1, len(self.propositions)) or not np.all((graded >= 0) & (graded <= 1)):
            return GraderError(
                f"the grades of '{start}' are not {len(self.propositions)} probabilities in [0, 1]"
            )
        return graded[0]
