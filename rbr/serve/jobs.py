"""What is queued, and scoring it: every failure is an error, never a number."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rbr.data.rows import Message
from rbr.errors import DataError
from rbr.reward import Explanation
from rbr.rules import Rules
from rbr.serve.errors import Detail, ServeError, one_line

log = logging.getLogger("rbr.serve")

Array = NDArray[np.float64]


class Reward(Protocol):
    """What is served; ``rbr.reward.RuleBasedReward`` is one."""

    rules: Rules

    def parts(
        self,
        conversations: Sequence[Sequence[Message]],
        completions: Sequence[str],
        response_types: Sequence[str | None],
    ) -> tuple[Array, Array, Array]:
        """R_rm and the rule-based part, (n,) each, and the proposition probabilities."""
        ...

    def explain(
        self, conversation: Sequence[Message], completion: str, response_type: str | None
    ) -> Explanation:
        """Why a completion has its reward."""
        ...


@dataclass(frozen=True)
class Item:
    """One completion to score."""

    conversation: tuple[Message, ...]
    completion: str
    response_type: str | None


@dataclass(frozen=True)
class Scored:
    """Scores of one completion."""

    reward_model: float
    rule_based: float
    reward: float


@dataclass(eq=False)
class Job:
    """A request's work. ``future`` gets ``Scored`` an item (or an ``Explanation``) or a ``ServeError``.

    Attributes:
        explain: explain the single item instead of scoring.
        since: ``time.monotonic()`` when it was queued.
    """

    items: Sequence[Item]
    explain: bool = False
    since: float = 0.0
    future: Future[Any] = field(default_factory=Future)

    def settle(self, outcome: Any) -> None:
        """Give the outcome, unless the job was given up meanwhile."""
        # Given up: its client left, or the time for stopping ran out while it was being scored.
        with suppress(InvalidStateError):
            if isinstance(outcome, ServeError):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)


def score(reward: Reward, items: Sequence[Item], max_batch: int) -> list[Scored]:
    """Scores by ``reward.parts``, called with at most ``max_batch`` completions at once.

    Raises:
        ValueError: if the reward gives another number of scores.
    """
    found: list[Scored] = []
    for start in range(0, len(items), max_batch):
        batch = items[start : start + max_batch]
        base, rule_based, _ = reward.parts(
            [item.conversation for item in batch],
            [item.completion for item in batch],
            [item.response_type for item in batch],
        )
        if len(base) != len(batch) or len(rule_based) != len(batch):
            raise ValueError(
                f"{len(base)} and {len(rule_based)} scores for {len(batch)} completions"
            )
        total = base + rule_based
        found += [Scored(*map(float, row)) for row in zip(base, rule_based, total, strict=True)]
    return found


def checked(scores: Sequence[Scored]) -> Sequence[Scored] | ServeError:
    """The scores of one job, or an error that names those that are no finite number."""
    bad = [
        Detail(where=f"{i}", message=f"R_rm {s.reward_model}, rule-based {s.rule_based}")
        for i, s in enumerate(scores)
        if not np.isfinite(s.reward)
    ]
    if bad:
        return ServeError(503, "not_finite", f"{len(bad)} scores are not finite; see details", bad)
    return scores


def failure(error: BaseException) -> ServeError:
    """What a job gets that the reward failed on."""
    if isinstance(error, DataError):
        return ServeError(422, "invalid_request", error.message)
    return ServeError(503, "model_failed", f"the reward failed: {one_line(error)}")


def attempt(work: Callable[[], Any]) -> Any:
    """What ``work`` gives, or its failure as a ``ServeError``."""
    try:
        return work()
    # Whatever a model raises, SystemExit too: the worker's thread must outlive it.
    except BaseException as error:
        log.exception("scoring failed")
        return failure(error)


def explained(reward: Reward, item: Item) -> Explanation | ServeError:
    """The explanation, or an error where its reward is no finite number."""
    told = reward.explain(item.conversation, item.completion, item.response_type)
    if not np.isfinite(told.reward):
        return ServeError(503, "not_finite", f"the reward is {told.reward}")
    return told


def run(reward: Reward, jobs: Sequence[Job], max_batch: int) -> None:
    """Settle jobs, scored together.

    Where that fails each is scored alone, so that only those get an error that the reward fails on. When
    the first two fail alone as well, the model is taken to be down and the others get the same error: with
    a grader that runs into its timeouts, trying all would keep the queue standing for minutes.
    """
    if jobs[0].explain:
        [job] = jobs
        job.settle(attempt(lambda: explained(reward, job.items[0])))
        return
    items = [item for job in jobs for item in job.items]
    found = attempt(lambda: score(reward, items, max_batch))
    if not isinstance(found, ServeError):
        at = 0
        for job in jobs:
            job.settle(checked(found[at : at + len(job.items)]))
            at += len(job.items)
        return
    if len(jobs) == 1:
        jobs[0].settle(found)
        return
    failed = 0
    for i, job in enumerate(jobs):
        if failed == i == 2:
            for other in jobs[i:]:
                other.settle(found)
            return
        alone = attempt(lambda job=job: score(reward, job.items, max_batch))  # type: ignore[misc]
        failed += isinstance(alone, ServeError)
        job.settle(alone if isinstance(alone, ServeError) else checked(alone))
