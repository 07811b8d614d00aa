"""The ``head`` engine: logistic heads on a tuned backbone.

The cheapest grader: one pass of a few layers grades all propositions of a completion. The reward's
grader and the evaluation's judge are both of this type, on different backbones and rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rbr.files import files_digest
from rbr.grading.base import Conversation, Probabilities, Progress
from rbr.grading.encoder import PairEncoder
from rbr.grading.heads import Heads


def head_identity(folder: Path) -> str:
    """``Grader.identity`` of the heads in a folder, without loading their backbone."""
    backbone = sorted((folder / "backbone").glob("*.safetensors"))
    return f"head:{files_digest([folder / 'head.safetensors', *backbone])}"


class HeadGrader:
    """A fitted ``head`` grader, as ``Grader`` asks.

    Args:
        folder: of the heads and the tuned backbone.
        model_folder: the model that the backbone was tuned from, for its tokenizer.
    """

    def __init__(self, folder: Path, model_folder: Path | str, batch_size: int = 32) -> None:
        self.heads, _ = Heads.load(folder)
        self.propositions = self.heads.propositions
        self.thresholds = self.heads.threshold
        self.features = PairEncoder(folder / "backbone", model_folder, batch_size)
        self._identity = head_identity(folder)

    def identity(self, proposition: str) -> str:
        """See ``Grader.identity``: all heads are fitted together and share one digest."""
        return self._identity

    def grade(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Probabilities:
        """See ``Grader.grade``."""
        return self.heads.grade(self.features(conversations, completions, progress), propositions)
