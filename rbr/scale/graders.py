"""Graders whose work is done in batches, here or on a cluster, and what is known of them without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rbr.grading.base import Conversation, Grader, Probabilities, Progress, Request
from rbr.grading.head import head_identity
from rbr.grading.heads import Heads
from rbr.grading.load import engine_identity, make_grader
from rbr.grading.yesno import YesNoGrader, load_prompts
from rbr.scale.batches import run_batches

if TYPE_CHECKING:
    from rbr.rules import Rules
    from rbr.settings import Grader as GraderSettings
    from rbr.settings import Scale


@dataclass(frozen=True)
class Card:
    """What a grader is, without its model.

    Attributes:
        thresholds: (propositions,)
        identities: proposition -> ``Grader.identity``.
    """

    propositions: tuple[str, ...]
    thresholds: Probabilities
    identities: dict[str, str]


def head_card(folder: Path) -> Card:
    """The card of heads that were saved to a folder, as ``HeadGrader`` and the judge have them."""
    heads, _ = Heads.load(folder)
    same = dict.fromkeys(heads.propositions, head_identity(folder))
    return Card(heads.propositions, heads.threshold, same)


class _Named:
    """An engine that only says which model it would ask."""

    def __init__(self, identity: str) -> None:
        self.identity = identity


def card_of(
    settings: GraderSettings, rules: Rules, folder: Path, default_model: Path | str
) -> Card:
    """The card of the grader that ``make_grader`` makes of the same arguments."""
    if settings.engine == "head":
        return head_card(folder)
    engine = _Named(engine_identity(settings, default_model))
    grader = YesNoGrader(engine, rules, load_prompts(folder))  # type: ignore[arg-type]
    names = grader.propositions
    return Card(names, grader.thresholds, {name: grader.identity(name) for name in names})


class _Worker:
    """Answers requests with a grader of its own."""

    def __init__(self, grader: Grader) -> None:
        self._grader = grader

    def __call__(self, request: Request) -> Probabilities:
        return self._grader.grade(
            request.conversations, request.completions, propositions=request.propositions
        )


def _worker(make: Callable[[], Grader]) -> _Worker:
    return _Worker(make())


class SpreadGrader:
    """A ``Grader`` over a cluster's workers, each with a grader of its own; this process loads no model.

    Args:
        make: makes a worker's grader; picklable.
        card: what that grader is.
        batch_rows: completions a batch where ``grade`` cuts them itself.
    """

    def __init__(
        self, make: Callable[[], Grader], card: Card, scale: Scale, batch_rows: int = 256
    ) -> None:
        self.propositions = card.propositions
        self.thresholds = card.thresholds
        self._identities = card.identities
        self._make = partial(_worker, make)
        self._scale = scale
        self._batch_rows = batch_rows

    @classmethod
    def of_profile(
        cls,
        settings: GraderSettings,
        rules: Rules,
        folder: Path,
        default_model: Path | str,
        scale: Scale,
    ) -> SpreadGrader:
        """The reward's grader, spread; arguments as ``make_grader`` takes them."""
        make = partial(make_grader, settings, rules, folder, default_model, scale.grader_servers)
        return cls(make, card_of(settings, rules, folder, default_model), scale)

    def identity(self, proposition: str) -> str:
        """See ``Grader.identity``."""
        return self._identities[proposition]

    def grade_many(self, requests: Sequence[Request]) -> Iterator[tuple[int, Probabilities]]:
        """See ``ManyGrader.grade_many``."""
        yield from run_batches(self._make, requests, self._scale)

    def grade(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Probabilities:
        """See ``Grader.grade``."""
        names = self.propositions if propositions is None else tuple(propositions)
        starts = range(0, len(completions), self._batch_rows)
        requests = [
            Request(
                tuple(conversations[start : start + self._batch_rows]),
                tuple(completions[start : start + self._batch_rows]),
                names,
            )
            for start in starts
        ]
        result = np.zeros((len(completions), len(names)))
        done = 0
        for number, graded in self.grade_many(requests):
            result[starts[number] : starts[number] + len(graded)] = graded
            done += len(graded)
            if progress:
                progress(done, len(completions))
        return result
