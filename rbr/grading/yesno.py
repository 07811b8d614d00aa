"""Graders that ask a language model: P(true) = P("yes") / (P("yes") + P("no")) of the next token.

The prompts and the calibration are this module's; where the model runs is an engine's.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rbr.data.rows import Labelled, label_matrix
from rbr.errors import DataError, GraderError
from rbr.files import read_json, write_json
from rbr.grading.base import Array, Conversation, Probabilities, Progress
from rbr.grading.calibration import decision_threshold, platt, sigmoid
from rbr.grading.options import STYLES, Style
from rbr.grading.prompts import FORM, INTRODUCTION, chat_prompt, question_text

if TYPE_CHECKING:
    from rbr.grading.engines.base import YesNoEngine
    from rbr.rules.rules import Rules

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FittedPrompt:
    """How one proposition is asked, and its calibration: sigmoid(slope * log odds + offset)."""

    style: Style = "question"
    slope: float = 1.0
    offset: float = 0.0
    threshold: float = 0.5


def calibrated(prompts: Sequence[FittedPrompt], log_odds: Array) -> Probabilities:
    """Probabilities of log odds, (n, len(prompts)), by the calibration of each column's prompt."""
    slope = np.array([prompt.slope for prompt in prompts])
    offset = np.array([prompt.offset for prompt in prompts])
    return sigmoid(slope * log_odds + offset)


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

    def load(self) -> None:
        """Load the model now, and fail now if it cannot be loaded."""
        self.engine.load()

    def identity(self, proposition: str) -> str:
        """See ``Grader.identity``: the model, how the proposition is asked, and its calibration."""
        text = json.dumps([FORM, self.engine.identity, asdict(self.prompts[proposition])])
        return f"yesno:{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def templates(self) -> dict[str, str]:
        """What each proposition is asked with, ``{{conversation}}`` in place of the quoted conversation."""
        return {
            name: f"{INTRODUCTION}\n\n{{{{conversation}}}}\n\n{question}"
            for name, question in self._questions.items()
        }

    def log_odds(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        propositions: Sequence[str],
        progress: Progress | None = None,
    ) -> Array:
        """Before calibration; shape (n, len(propositions)).

        Raises:
            GraderError: as the engine does, or naming the completion whose log odds are not finite.
        """
        prompts = [
            [
                chat_prompt(self.engine.tokenizer, turns, text, self._questions[name])
                for name in propositions
            ]
            for turns, text in zip(conversations, completions, strict=True)
        ]
        odds = self.engine.log_odds(prompts, progress)
        wrong = np.argwhere(~np.isfinite(odds))
        if len(wrong):
            row, column = wrong[0]
            raise GraderError(
                f"the log odds of '{propositions[column]}' for completion {row} are"
                f" {odds[row, column]}: see that the model's weights and precision are sound"
            )
        return odds

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
        return calibrated([self.prompts[name] for name in names], odds)


class Scoring(Protocol):
    """A grader before its calibration."""

    def log_odds(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        propositions: Sequence[str],
        progress: Progress | None = None,
    ) -> Array:
        """Finite log odds of shape (n, len(propositions))."""
        ...


def fit_prompts(
    asked_by: Callable[[dict[str, FittedPrompt]], Scoring],
    names: Sequence[str],
    rows: Sequence[Labelled],
    styles: Sequence[Style] = STYLES,
    progress: Progress | None = None,
) -> dict[str, FittedPrompt]:
    """Choose the wording of each question, and its calibration: the least log loss after calibration.

    Args:
        asked_by: makes the grader that asks by given prompts.
        names: its propositions.
        rows: labelled completions to choose and calibrate on; held-out ones stay unseen.
        styles: the wordings to choose from.
    """
    labels = label_matrix([row.true for row in rows], names)
    best: dict[str, tuple[float, FittedPrompt]] = {}
    for style in styles:
        logger.info("asking %d gold rows by the style '%s'", len(rows), style)
        grader = asked_by({name: FittedPrompt(style) for name in names})
        odds = grader.log_odds(
            [row.conversation for row in rows], [row.completion for row in rows], names, progress
        )
        for j, name in enumerate(names):
            slope, offset = platt(odds[:, j], labels[:, j])
            scores = slope * odds[:, j] + offset
            loss = float((np.logaddexp(0, scores) - labels[:, j] * scores).mean())
            if name not in best or loss < best[name][0]:
                threshold = decision_threshold(sigmoid(scores), labels[:, j])
                best[name] = (loss, FittedPrompt(style, slope, offset, threshold))
    return {name: prompt for name, (_, prompt) in best.items()}


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
