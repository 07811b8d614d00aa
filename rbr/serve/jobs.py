"""What is queued, and scoring it: every failure is an error, never a number."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from rbr.data.rows import Conversation
from rbr.errors import DataError
from rbr.reward.rule_based_reward import Explanation, RuleBasedReward
from rbr.serve.errors import Detail, ServeError
from rbr.serve.formats import ItemReward

logger = logging.getLogger(__name__)

Outcome = list[ItemReward] | Explanation | ServeError


class Item(NamedTuple):
    """One completion to score."""

    conversation: Conversation
    completion: str
    response_type: str | None


@dataclass(eq=False)
class Job:
    """The work of one request.

    Attributes:
        explain: explain the single item instead of scoring.
        since: the event loop's time when it was queued.
        request_id: for the log.
        outcome: gets the rewards of the items, or the explanation, or a ``ServeError``.
    """

    items: Sequence[Item]
    explain: bool
    since: float
    outcome: asyncio.Future[list[ItemReward] | Explanation]
    request_id: str = "-"

    def settle(self, outcome: Outcome) -> None:
        """Set the outcome, unless the client left or the service stopped while it was scored."""
        if self.outcome.done():
            return
        if isinstance(outcome, ServeError):
            self.outcome.set_exception(outcome)
        else:
            self.outcome.set_result(outcome)


def outcomes_of(reward: RuleBasedReward, jobs: Sequence[Job], max_batch: int) -> list[Outcome]:
    """One outcome a job, scored together.

    Where that fails each is scored alone, so that only those get an error that the reward fails on.
    If the first two fail alone as well, the model is taken to be down and the others get the same
    error: a grader that runs into its timeouts would hold up the queue for minutes.
    """
    try:
        return _score_together(reward, jobs, max_batch)
    # Whatever a model raises, SystemExit too: the worker's thread must survive it.
    except BaseException as error:
        logger.exception("scoring failed (%s)", " ".join(job.request_id for job in jobs))
        failure = _failure(error)
    if len(jobs) == 1:
        return [failure]
    outcomes: list[Outcome] = []
    for job in jobs:
        if len(outcomes) == 2 and all(
            isinstance(o, ServeError) and o.error != "not_finite" for o in outcomes
        ):
            return outcomes + [failure] * (len(jobs) - 2)
        outcomes += outcomes_of(reward, [job], max_batch)
    return outcomes


def _failure(error: BaseException) -> ServeError:
    if isinstance(error, DataError):
        return ServeError(422, "invalid_request", error.message)
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    return ServeError(503, "model_failed", f"the reward failed: {text}")


def _score_together(reward: RuleBasedReward, jobs: Sequence[Job], max_batch: int) -> list[Outcome]:
    items = [item for job in jobs if not job.explain for item in job.items]
    rewards = iter(score(reward, items, max_batch))
    return [
        _finite(reward.explain(*job.items[0]))
        if job.explain
        else _finite(list(islice(rewards, len(job.items))))
        for job in jobs
    ]


def score(reward: RuleBasedReward, items: Sequence[Item], max_batch: int) -> list[ItemReward]:
    """Rewards by ``reward.components``, called with at most ``max_batch`` completions at once.

    Raises:
        ValueError: if the reward returns another number of scores.
    """
    rewards: list[ItemReward] = []
    for start in range(0, len(items), max_batch):
        batch = items[start : start + max_batch]
        base, rule_based, _ = reward.components(*map(list, zip(*batch, strict=True)))
        if len(base) != len(batch) or len(rule_based) != len(batch):
            raise ValueError(
                f"{len(base)} and {len(rule_based)} scores for {len(batch)} completions"
            )
        rewards += [
            ItemReward(reward_model=b, rule_based=r, reward=b + r)
            for b, r in zip(base.tolist(), rule_based.tolist(), strict=True)
        ]
    return rewards


def _finite(outcome: list[ItemReward] | Explanation) -> Outcome:
    """The outcome of one job, or an error that names the rewards that are no finite number."""
    rewards: Sequence[ItemReward | Explanation]
    rewards = outcome if isinstance(outcome, list) else [outcome]
    bad = [
        Detail(where=str(i), message=f"R_rm {found.reward_model}, reward {found.reward}")
        for i, found in enumerate(rewards)
        if not math.isfinite(found.reward)
    ]
    if bad:
        return ServeError(503, "not_finite", f"{len(bad)} scores are not finite; see details", bad)
    return outcome
