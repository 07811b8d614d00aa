"""A grader that MLflow's threads share."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Sequence

from rbr.data.rows import Conversation
from rbr.errors import GraderError
from rbr.grading.base import Grader, Probabilities, Progress
from rbr.grading.store import GradeStore, StoredGrader, grade_keys
from rbr.rules.rules import Rules

# MLflow runs scorers in threads, but models and tokenizers may not be entered twice: one lock for all
# graders and reward models of the process. Reentrant, since a reward grades inside it.
MODEL_LOCK = threading.RLock()


class SharedGrader(StoredGrader):
    """A stored grader that several scorers share; thread-safe.

    A row whose grading failed is not tried again: all its scorers get the same error, and 24 of them
    do not wait for 24 timeouts.

    Args:
        store: keeps the grades; a temporary one by default.
    """

    def __init__(self, grader: Grader, rules: Rules, store: GradeStore | None = None) -> None:
        # A grader may know propositions that the rules no longer have.
        texts = dict.fromkeys(grader.propositions, "") | rules.grading_texts()
        super().__init__(grader, GradeStore() if store is None else store, texts)
        self._failures: dict[bytes, GraderError] = {}

    @classmethod
    def of(cls, grader: Grader, rules: Rules) -> SharedGrader:
        """The grader itself if it is a shared one."""
        return grader if isinstance(grader, cls) else cls(grader, rules)

    def _grade(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None,
        propositions: Sequence[str] | None,
    ) -> tuple[Probabilities, list[list[bytes]]]:
        """See ``StoredGrader``.

        Raises:
            GraderError: if the grader raises anything, now or at an earlier call for the same
                completions, or returns no probabilities.
        """
        rows = zip(conversations, completions, strict=True)
        key = b"".join(grade_keys([""], *row)[0] for row in rows)
        with MODEL_LOCK:
            if key in self._failures:
                raise self._failures[key]
            try:
                return super()._grade(conversations, completions, progress, propositions)
            except GraderError as error:
                self._failures[key] = error
                raise
            except Exception as error:
                start = textwrap.shorten(completions[0], 60, placeholder="…")
                message = f"no grades of '{start}': {type(error).__name__}: {error}"
                self._failures[key] = GraderError(message)
                raise self._failures[key] from error
