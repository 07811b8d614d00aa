"""Graders that ask a language model: P(true) = P("yes") / (P("yes") + P("no")) of the next token.

The prompts and the calibration are this module's; where the model runs is an engine's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from rbr.errors import DataError
from rbr.files import read_json, write_json
from rbr.grading.base import Conversation, Probabilities, Progress
from rbr.grading.calibration import sigmoid
from rbr.grading.prompts import Style, chat_prompt, question_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rbr.rules import Rules

Array = NDArray[np.float64]


class YesNoEngine(Protocol):
    """Where the model runs.

    Attributes:
        identity: names the model, so that grades of different models are kept apart.
        tokenizer: whose chat template the prompts are written in.
    """

    identity: str
    tokenizer: PreTrainedTokenizerBase

    def log_odds(self, prompts: Sequence[Sequence[str]], progress: Progress | None = None) -> Array:
        """``log P(yes) - log P(no)`` of the token that follows each prompt.

        Args:
            prompts: n rows of q prompts; those of a row share most of their beginning.

        Returns:
            Shape (n, q).

        Raises:
            GraderError: naming the row that got no usable answer; never a made-up number.
        """
        ...


@dataclass(frozen=True)
class FittedPrompt:
    """How one proposition is asked, and its calibration: sigmoid(slope * log odds + offset)."""

    style: Style = "question"
    slope: float = 1.0
    offset: float = 0.0
    threshold: float = 0.5


class YesNoGrader:
    """A ``Grader`` over an engine.

    Args:
        prompts: proposition -> how it is asked; those left out are asked by the default.
    """

    def __init__(
        self, engine: YesNoEngine, rules: Rules, prompts: Mapping[str, FittedPrompt] | None = None
    ) -> None:
        self.engine = engine
        self.propositions = rules.proposition_names
        self.prompts = {
            name: (prompts or {}).get(name, FittedPrompt()) for name in self.propositions
        }
        self.thresholds = np.array([self.prompts[name].threshold for name in self.propositions])
        self._questions = {
            name: question_text(rules.propositions[name], self.prompts[name].style)
            for name in self.propositions
        }

    def identity(self, proposition: str) -> str:
        """See ``Grader.identity``: the model, how the proposition is asked, and its calibration."""
        text = json.dumps([self.engine.identity, asdict(self.prompts[proposition])])
        return f"yesno:{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def log_odds(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        propositions: Sequence[str],
        progress: Progress | None = None,
    ) -> Array:
        """Before calibration; shape (n, len(propositions))."""
        prompts = [
            [
                chat_prompt(self.engine.tokenizer, turns, text, self._questions[name])
                for name in propositions
            ]
            for turns, text in zip(conversations, completions, strict=True)
        ]
        return self.engine.log_odds(prompts, progress)

    def grade(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Probabilities:
        """See ``Grader.grade``."""
        names = self.propositions if propositions is None else tuple(propositions)
        if not completions or not names:
            return np.zeros((len(completions), len(names)))
        odds = self.log_odds(conversations, completions, names, progress)
        slope = np.array([self.prompts[name].slope for name in names])
        offset = np.array([self.prompts[name].offset for name in names])
        return sigmoid(slope * odds + offset)


def save_prompts(folder: Path, prompts: Mapping[str, FittedPrompt]) -> None:
    """Write ``prompts.json`` into an existing folder."""
    write_json(folder / "prompts.json", {name: asdict(prompt) for name, prompt in prompts.items()})


def load_prompts(folder: Path) -> dict[str, FittedPrompt]:
    """Read what ``save_prompts`` wrote.

    Raises:
        DataError: if the file is missing or not of this form.
    """
    path = folder / "prompts.json"
    try:
        return {name: FittedPrompt(**fields) for name, fields in read_json(path).items()}
    except TypeError as error:
        raise DataError(f"not fitted prompts ({error}): make the grader again", path) from error
