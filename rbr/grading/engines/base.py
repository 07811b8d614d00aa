"""What the engines of yes/no graders share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rbr.errors import ModelError
from rbr.grading.base import Array, Progress
from rbr.models.load import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SPELLINGS = {
    "yes": ("Yes", "yes", " Yes", " yes", "YES"),
    "no": ("No", "no", " No", " no", "NO"),
}


class YesNoEngine(ABC):
    """Where the model of a yes/no grader runs; the model is loaded at the first use.

    Args:
        model: a folder or a hub name of a causal language model.
        identity: names the model, so that grades of different models are kept apart.
    """

    def __init__(self, model: Path | str, identity: str | None = None) -> None:
        self.model_name = str(model)
        self.identity = identity or self.model_name

    @abstractmethod
    def load(self) -> None:
        """Load what grading needs now, and fail now if it cannot be loaded."""

    @abstractmethod
    def log_odds(self, prompts: Sequence[Sequence[str]], progress: Progress | None = None) -> Array:
        """``log P(yes) - log P(no)`` of the token that follows each prompt.

        Args:
            prompts: n rows of q prompts; those of a row share most of their beginning.

        Returns:
            Shape (n, q).

        Raises:
            GraderError: naming the row that got no usable answer; never a made-up number.
        """

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's, in whose chat template the prompts are written."""
        return load_tokenizer(self.model_name)

    @cached_property
    def yes_no_tokens(self) -> tuple[list[int], list[int]]:
        """Ids of the single tokens among the usual spellings of yes, and of no.

        Raises:
            ModelError: if the tokenizer has no single token for either word.
        """
        found = []
        for spellings in SPELLINGS.values():
            rows = self.token_ids(spellings)
            found.append(sorted({row[0] for row in rows if len(row) == 1}))
        yes, no = found
        if not yes or not no:
            raise ModelError(
                "the tokenizer has no single token for 'Yes' and 'No': the grader needs one"
            )
        return yes, no

    def token_ids(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts that hold their special tokens already."""
        ids: list[list[int]] = self.tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
        return ids


def log_ratio(yes: Sequence[float], no: Sequence[float]) -> float:
    """Log odds of two words from the log-probabilities of their spellings."""
    return float(np.logaddexp.reduce(yes) - np.logaddexp.reduce(no))
