"""A ``Grader`` that asks a chat model, with a reason for each grade."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from rbr.data.rows import Message
from rbr.files import digest_of
from rbr.grading.base import Array, Conversation, Graded, Progress, ReasonedGrader
from rbr.grading.chat.prompts import CHAT_FORM
from rbr.grading.chat.verdicts import Budget, Completion, Examiner, Verdict
from rbr.grading.yesno import FittedPrompt, calibrated
from rbr.models.servers import run

if TYPE_CHECKING:
    from rbr.grading.chat.styles import Asking
    from rbr.models.chat import ChatClient, ChatSession, Usage

# Log odds of a verdict without a probability of its own: where the logistic function is clipped.
CERTAIN = 30.0


class ChatGrader(ReasonedGrader):
    """See ``Grader``.

    Args:
        asking: what is sent, and how answers are read.
        settings: what grades depend on beside the model and the prompt, as JSON-like values.
        group: propositions a request; None for all.
        prompts: proposition -> its wording and calibration; plain ones are not calibrated.
        keep_reasoning: put what a model argued behind its reason.
    """

    def __init__(
        self,
        client: ChatClient,
        asking: Asking,
        budget: Budget,
        settings: Mapping[str, Any],
        group: int | None = 1,
        prompts: Mapping[str, FittedPrompt] | None = None,
        keep_reasoning: bool = False,
    ) -> None:
        self.client = client
        self.propositions = asking.propositions
        self.prompts = {
            name: (prompts or {}).get(name, FittedPrompt("examples")) for name in self.propositions
        }
        self.thresholds = np.array([self.prompts[name].threshold for name in self.propositions])
        self._asking, self._budget, self._settings = asking, budget, settings
        self._group, self._keep_reasoning = group, keep_reasoning

    @property
    def usage(self) -> Usage:
        """What all its requests took."""
        return self.client.usage

    def load(self) -> None:
        """See ``YesNoGrader.load``; the server is not asked."""

    def identity(self, proposition: str) -> str:
        """See ``Grader.identity``: the model, how it is asked, this proposition's prompt and calibration.

        Whatever else is asked in the same request has no part in it.
        """
        own = asdict(self.prompts[proposition])
        return f"chat:{digest_of(CHAT_FORM, self.client.model, self._settings, own)}"

    def templates(self) -> dict[str, list[dict[str, str]]]:
        """The turns that ask for each proposition alone, of a conversation ``{{prompt}}``, ``{{answer}}``."""
        talk = (Message(role="user", content="{{prompt}}"),)
        return {
            name: [dict(turn) for turn in self._asking.messages(talk, "{{answer}}", [name])]
            for name in self.propositions
        }

    def grade_with_reasons(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Graded:
        """See ``ReasonedGrader``.

        Raises:
            GraderError: naming the completion and the proposition without a verdict.
        """
        names = self.propositions if propositions is None else tuple(propositions)
        rows = self._verdicts(conversations, completions, names, progress)
        p = calibrated([self.prompts[name] for name in names], _log_odds(rows, names))
        reasons = [[self._reason(row[name]) for name in names] for row in rows]
        return Graded(p, reasons)

    def log_odds(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        propositions: Sequence[str],
        progress: Progress | None = None,
    ) -> Array:
        """Before calibration; shape (n, len(propositions)), at most ``CERTAIN`` in size."""
        rows = self._verdicts(conversations, completions, propositions, progress)
        return _log_odds(rows, propositions)

    def _reason(self, verdict: Verdict) -> str:
        if not (self._keep_reasoning and verdict.reasoning):
            return verdict.reason
        return json.dumps(
            {"reason": verdict.reason, "reasoning": verdict.reasoning}, ensure_ascii=False
        )

    def _verdicts(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        names: Sequence[str],
        progress: Progress | None,
    ) -> list[dict[str, Verdict]]:
        if not completions or not names:
            return [{} for _ in completions]
        pairs = zip(conversations, completions, strict=True)
        rows = [Completion(i, turns, text) for i, (turns, text) in enumerate(pairs)]
        return run(self._grade_rows(rows, names, progress))

    async def _grade_rows(
        self, rows: Sequence[Completion], names: Sequence[str], progress: Progress | None
    ) -> list[dict[str, Verdict]]:
        size = self._group or len(names)
        groups = [names[start : start + size] for start in range(0, len(names), size)]
        # Enough rows at once to keep all servers busy, and no more: a slow server should get few.
        servers = len(self.client.addresses)
        gate = asyncio.Semaphore(max(2, -(-2 * self.client.concurrency // len(groups))) * servers)
        done = 0

        async def grade_row(session: ChatSession, row: Completion) -> dict[str, Verdict]:
            nonlocal done
            examiner = Examiner(session, self._asking, self._budget)
            async with gate:
                # One server has the beginning of all the row's requests in its cache.
                home = session.servers.choose()
                home.load += 1
                try:
                    found = await examiner.verdicts(row, groups[0], home)
                    async with asyncio.TaskGroup() as tasks:
                        rest = [
                            tasks.create_task(examiner.verdicts(row, group, home))
                            for group in groups[1:]
                        ]
                finally:
                    home.load -= 1
            for task in rest:
                found |= task.result()
            done += 1
            if progress:
                progress(done, len(rows))
            return found

        async with self.client.session() as session, asyncio.TaskGroup() as tasks:
            graded = [tasks.create_task(grade_row(session, row)) for row in rows]
        return [task.result() for task in graded]


def _log_odds(rows: Sequence[Mapping[str, Verdict]], names: Sequence[str]) -> Array:
    p = np.array([[row[name].probability for name in names] for row in rows])
    p = p.reshape(len(rows), len(names))
    with np.errstate(divide="ignore"):
        return np.clip(np.log(p) - np.log1p(-p), -CERTAIN, CERTAIN)
