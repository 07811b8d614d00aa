"""Graders whose batches run on a cluster, and what is known of a grader without its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from rbr.grading.base import Conversation, Grader, Probabilities, Progress, Request
from rbr.grading.head import head_identity
from rbr.grading.heads import Heads
from rbr.grading.load import engine_identity, make_grader
from rbr.grading.yesno import YesNoGrader, load_prompts
from rbr.scale.batches import run_batches

if TYPE_CHECKING:
    from rbr.grading.options import GraderOptions
    from rbr.rules.rules import Rules
    from rbr.scale.options import ClusterOptions


@dataclass(frozen=True)
class Card:
    """The description of a grader, read without its model.

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


def card_of(options: GraderOptions, rules: Rules, folder: Path, default_model: Path | str) -> Card:
    """The card of the grader that ``make_grader`` makes of the same arguments."""
    if options.engine == "head":
        return head_card(folder)
    # Only the identity of the model is read, so that none is loaded.
    engine: Any = SimpleNamespace(identity=engine_identity(options, default_model))
    grader = YesNoGrader(engine, rules, load_prompts(folder))
    names = grader.propositions
    return Card(names, grader.thresholds, {name: grader.identity(name) for name in names})


class _Worker:
    """Answers requests with a grader that it makes."""

    def __init__(self, make: Callable[[], Grader]) -> None:
        self._grader = make()

    def __call__(self, request: Request) -> Probabilities:
        return self._grader.grade(
            request.conversations, request.completions, propositions=request.propositions
        )


class SpreadGrader:
    """A ``Grader`` over a cluster's workers, each of which loads the model; this process loads none.

    Args:
        make: makes a worker's grader; picklable.
        card: the description of that grader.
        batch_rows: completions per batch of ``grade``.
    """

    def __init__(
        self, make: Callable[[], Grader], card: Card, scale: ClusterOptions, batch_rows: int = 256
    ) -> None:
        self.propositions = card.propositions
        self.thresholds = card.thresholds
        self._identities = card.identities
        self._make = partial(_Worker, make)
        self._scale = scale
        self._batch_rows = batch_rows

    @classmethod
    def from_options(
        cls,
        options: GraderOptions,
        rules: Rules,
        folder: Path,
        default_model: Path | str,
        scale: ClusterOptions,
    ) -> SpreadGrader:
        """The grader that ``make_grader`` makes of the same arguments, on each worker."""
        make = partial(make_grader, options, rules, folder, default_model, scale.grader_servers)
        return cls(make, card_of(options, rules, folder, default_model), scale)

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
        batches = [slice(start, start + self._batch_rows) for start in starts]
        requests = [
            Request(tuple(conversations[batch]), tuple(completions[batch]), names)
            for batch in batches
        ]
        result = np.zeros((len(completions), len(names)))
        done = 0
        for number, grades in self.grade_many(requests):
            result[batches[number]] = grades
            done += len(grades)
            if progress:
                progress(done, len(completions))
        return result
