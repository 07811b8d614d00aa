"""Getting verdicts from a chat model: asked, repaired once, or an error that names what is missing."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rbr.errors import GraderError, ServerError
from rbr.grading.chat.probability import by_logprobs, by_samples
from rbr.grading.chat.reading import Reading
from rbr.models.chat import ChatAnswer, ChatMessages, ChatSession, token_logprobs

if TYPE_CHECKING:
    from rbr.grading.base import Conversation
    from rbr.grading.chat.styles import Asking
    from rbr.models.servers import Server

# How much more an answer may have that was cut.
LARGER = 4


@dataclass(frozen=True)
class Verdict:
    """The grade of one proposition, before calibration.

    Attributes:
        probability: in [0, 1].
        reason: in the grader's words; '' where it gives none.
        reasoning: what it argued before its answer.
    """

    probability: float
    reason: str = ""
    reasoning: str = ""


@dataclass(frozen=True)
class Budget:
    """What an answer may take and how often it is drawn; see ``ChatOptions``."""

    max_reasoning_tokens: int
    logprobs: bool
    samples: int = 1
    temperature: float = 0.7


@dataclass(frozen=True)
class Completion:
    """A completion that is graded; ``row``: its place among those that are graded together."""

    row: int
    conversation: Conversation
    text: str

    def __str__(self) -> str:
        start = textwrap.shorten(self.text, 50, placeholder="…")
        return f"completion {self.row} ('{start}')"


class Examiner:
    """Asks for the verdicts of completions.

    Args:
        session: of the chat model.
        asking: what is sent, and how answers are read.
    """

    def __init__(self, session: ChatSession, asking: Asking, budget: Budget) -> None:
        self._session, self._asking, self._budget = session, asking, budget

    async def verdicts(
        self, completion: Completion, names: Sequence[str], home: Server
    ) -> dict[str, Verdict]:
        """The verdict of each proposition; one that the answer leaves out is asked for alone.

        Raises:
            GraderError: naming the completion and the proposition without a verdict.
        """
        found = await self._sampled(completion, names, home)
        missing = [name for name in names if name not in found]
        async with asyncio.TaskGroup() as group:
            alone = [group.create_task(self._sampled(completion, [name], home)) for name in missing]
        for task in alone:
            found |= task.result()
        return found

    async def _sampled(
        self, completion: Completion, names: Sequence[str], home: Server
    ) -> dict[str, Verdict]:
        """By one answer where its tokens' log-probabilities are sent, or as the share of several."""
        answer, reading = await self._usable(completion, names, home, 0)
        one = {
            name: Verdict(said.value, said.reason, answer.reasoning)
            for name, said in reading.said.items()
        }
        known = {name: by_logprobs(answer, said) for name, said in reading.said.items()}
        unknown = [name for name, p in known.items() if p is None]
        shares: dict[str, float] = {}
        if self._budget.samples > 1 and unknown:
            async with asyncio.TaskGroup() as group:
                others = [
                    group.create_task(self._usable(completion, names, home, number))
                    for number in range(1, self._budget.samples)
                ]
            readings = [reading, *(task.result()[1] for task in others)]
            for name in unknown:
                values = [r.said[name].value for r in readings if name in r.said]
                shares[name] = by_samples(values)
        result = {}
        for name, verdict in one.items():
            p = known[name]
            p = shares.get(name, verdict.probability) if p is None else p
            result[name] = Verdict(p, verdict.reason, verdict.reasoning)
        return result

    async def _usable(
        self, completion: Completion, names: Sequence[str], home: Server, sample: int
    ) -> tuple[ChatAnswer, Reading]:
        """An answer with a verdict at least, asked for once more where the first has none.

        Raises:
            GraderError: if that has none either, and is of a single proposition.
        """
        messages = self._asking.messages(completion.conversation, completion.text, names)
        answer = await self._complete(completion, messages, names, home, sample)
        reading = self._read(answer, names)
        if reading.problem and (reading.refused or not reading.said):
            messages = self._asking.again(messages, names, answer, reading)
            answer = await self._complete(
                completion, messages, names, home, sample, answer.finish_reason == "length"
            )
            reading = self._read(answer, names)
        if reading.refused:
            reading = Reading({}, reading.problem, refused=True)
        if len(names) == 1 and names[0] not in reading.said:
            said = answer.content or answer.refusal or answer.reasoning
            raise GraderError(
                f"{completion}, proposition '{names[0]}': the grader gave no verdict, asked twice:"
                f" {reading.problem} ('{textwrap.shorten(said, 160, placeholder='…')}')"
            )
        return answer, reading

    def _read(self, answer: ChatAnswer, names: Sequence[str]) -> Reading:
        if answer.finish_reason == "content_filter":
            return Reading(problem="a content filter stopped it", refused=True)
        if answer.refusal and not answer.content:
            return Reading(problem="it refuses to answer", refused=True)
        if answer.finish_reason == "length" and not self._asking.begun(answer.content):
            return Reading(problem="it was cut before its answer: raise max_reasoning_tokens")
        return self._asking.read(answer.content, names)

    async def _complete(
        self,
        completion: Completion,
        messages: ChatMessages,
        names: Sequence[str],
        home: Server,
        sample: int,
        longer: bool = False,
    ) -> ChatAnswer:
        """An answer; one that is cut in its reasoning may be longer at a second try.

        Raises:
            GraderError: naming completion and proposition, if it is cut again or no server answers.
        """
        budget, several = self._budget, len(names) > 1
        what = f"'{names[0]}'" + (f" and {len(names) - 1} more" if several else "")
        features = self._asking.features(names)
        if budget.logprobs:
            features.append(token_logprobs())
        sampled = budget.samples > 1
        factor = LARGER if longer else 1
        tokens = factor * self._asking.tokens(names)
        reasoning = factor * budget.max_reasoning_tokens
        for _ in range(2):
            try:
                answer = await self._session.complete(
                    messages,
                    max_tokens=tokens + reasoning,
                    temperature=budget.temperature if sampled else 0.0,
                    seed=sample if sampled else None,
                    features=features,
                    home=home,
                    what=f"grade of {what} for {completion}",
                    whole=self._asking.whole,
                )
            except ServerError as error:
                raise GraderError(error.message) from error
            if not answer.cut:
                return answer
            reasoning = LARGER * (reasoning or tokens)
        raise GraderError(
            f"{completion}, proposition {what}: the grader's reasoning was cut twice, the second time"
            f" after {tokens + reasoning // LARGER} tokens: raise max_reasoning_tokens"
        )
