"""The ``openai`` engine: any server that speaks OpenAI's completions protocol, ``vllm serve`` among them.

Requests are concurrent, within a bound. Of several servers of the model the least loaded is asked; one
that fails is left out and tried again later, with growing pauses. A completion that stays without a
usable answer is an error that names it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from rbr.errors import GraderError, first_problem
from rbr.grading.base import Array, Progress
from rbr.grading.engines.base import YesNoEngine, log_ratio

if TYPE_CHECKING:
    from openai import APIError, AsyncOpenAI

# Statuses below 500 that pass: time-out, conflict, too many requests.
PASSING = (408, 409, 429)
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
# Log-probabilities that a server is asked for.
TOP = 20
# What some servers send for a token that they have no log-probability of.
NOT_SENT = -9999.0
ROUNDING = 1e-3
# What tokenizers and models put around a word: spaces, their marks in token names, punctuation.
AROUND = " \t\r\n▁ĠĊ.,:;!*_\"'`"


@dataclass
class Server:
    """One server.

    Attributes:
        gate: bounds the requests under way.
        load: answers being graded on it.
        pause: seconds that it is left out for after its next failure.
        out_until: when it is tried again, on the clock of ``Servers``.
    """

    address: str
    client: AsyncOpenAI | None = None
    gate: asyncio.Semaphore = field(default_factory=asyncio.Semaphore)
    load: int = 0
    pause: float = FIRST_PAUSE
    out_until: float = 0.0


@dataclass
class Servers:
    """Several servers of one model; which one to ask."""

    every: Sequence[Server]
    clock: Callable[[], float] = time.monotonic

    def usable(self, server: Server) -> bool:
        """Whether a server is not left out now."""
        return server.out_until <= self.clock()

    def choose(self) -> Server:
        """The least loaded of the usable ones; of none, that which is tried again first."""
        usable = [server for server in self.every if self.usable(server)]
        if usable:
            return min(usable, key=lambda server: server.load)
        return min(self.every, key=lambda server: server.out_until)

    def wait(self, server: Server) -> float:
        """Seconds until a server may be tried again."""
        return max(0.0, server.out_until - self.clock())

    def failed(self, server: Server) -> None:
        """Leave a server out: twice as long each time, until it answers again."""
        if self.usable(server):
            server.out_until = self.clock() + server.pause
            server.pause = min(2 * server.pause, LONGEST_PAUSE)

    def worked(self, server: Server) -> None:
        """A server answered."""
        server.pause = FIRST_PAUSE
        server.out_until = 0.0


class OpenAIEngine(YesNoEngine):
    """See ``YesNoEngine``.

    Args:
        address: base URL, ending in ``/v1``; or several, of servers of the same model.
        served_name: the name under which the server knows the model.
        model: its folder or hub name, for the tokenizer: its chat template writes the prompts.
        key: the bearer token; most self-hosted servers need none.
        restrict: send vLLM's ``allowed_token_ids``, so that the server need not rank yes and no among
            its top log-probabilities (its ``--logprobs-mode`` must be ``processed_logprobs``). Other
            servers refuse the field: leave it off.
        concurrency: requests under way at once, a server.
        timeout: seconds a request may take.
        retries: how often a request is repeated, here or on another server.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        served_name: str,
        model: Path | str,
        key: str | None = None,
        restrict: bool = False,
        concurrency: int = 32,
        timeout: float = 60.0,
        retries: int = 4,
    ) -> None:
        super().__init__(model, served_name)
        self.addresses = (address,) if isinstance(address, str) else tuple(address)
        self.concurrency = concurrency
        self.restrict = restrict
        self.retries = retries
        self._key = key or "none"
        self._timeout = timeout
        # Arguments of every request beside its prompt.
        self.request: dict[str, Any] = {
            "model": served_name,
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": TOP,
        }

    def load(self) -> None:
        """See ``YesNoEngine.load``; the server is not asked."""
        _ = self.yes_no_tokens

    def log_odds(self, prompts: Sequence[Sequence[str]], progress: Progress | None = None) -> Array:
        """See ``YesNoEngine.log_odds``."""
        if self.restrict:
            allowed = [word for words in self.yes_no_tokens for word in words]
            self.request["extra_body"] = {"allowed_token_ids": allowed, "add_special_tokens": False}
        elif (start := self._added_start) is not None:
            prompts = [[prompt.removeprefix(start) for prompt in row] for row in prompts]
        try:
            return asyncio.run(self._ask_rows(prompts, progress))
        except BaseExceptionGroup as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error from group

    @cached_property
    def _added_start(self) -> str | None:
        """The token that the server's tokenizer puts before a text, which the template may have too."""
        added = self.tokenizer("a")["input_ids"][0] == self.tokenizer.bos_token_id
        return str(self.tokenizer.bos_token) if added else None

    async def _ask_rows(self, prompts: Sequence[Sequence[str]], progress: Progress | None) -> Array:
        result = np.zeros((len(prompts), len(prompts[0]) if prompts else 0))
        # Enough rows at once to keep all servers busy, and no more: a slow server should get few.
        at_once = max(2, -(-2 * self.concurrency // max(1, result.shape[1]))) * len(self.addresses)
        gate = asyncio.Semaphore(at_once)
        done = 0

        async def ask_row(servers: Servers, i: int) -> None:
            nonlocal done
            async with gate:
                result[i] = await self._ask_row(servers, prompts[i], i)
            done += 1
            if progress:
                progress(done, len(prompts))

        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(self._client(a)) for a in self.addresses]
            servers = Servers(
                [
                    Server(address, client, asyncio.Semaphore(self.concurrency))
                    for address, client in zip(self.addresses, clients, strict=True)
                ]
            )
            async with asyncio.TaskGroup() as rows:
                for i in range(len(prompts)):
                    rows.create_task(ask_row(servers, i))
        return result

    def _client(self, address: str) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        # The client's own retries would stay with a server that fails.
        return AsyncOpenAI(
            base_url=address, api_key=self._key, timeout=self._timeout, max_retries=0
        )

    async def _ask_row(self, servers: Servers, prompts: Sequence[str], row: int) -> list[float]:
        """The log odds of one completion's prompts."""
        home = servers.choose()
        home.load += 1
        try:
            # The first question fills the server's prefix cache for the others.
            first = await self._ask(servers, home, prompts[0], row)
            async with asyncio.TaskGroup() as group:
                rest = [
                    group.create_task(self._ask(servers, home, prompt, row))
                    for prompt in prompts[1:]
                ]
            return [first, *(task.result() for task in rest)]
        finally:
            home.load -= 1

    async def _ask(self, servers: Servers, home: Server, prompt: str, row: int) -> float:
        """Ask ``home``, whose cache has the row's prefix; another server while it is left out."""
        from openai import APIError

        server, error, tries = home, None, 0
        while tries <= self.retries:
            server = home if servers.usable(home) else servers.choose()
            if tries:
                await asyncio.sleep(servers.wait(server))
            async with server.gate:
                if not servers.usable(server) and servers.usable(servers.choose()):
                    continue  # it failed others while this request waited for its turn
                tries += 1
                try:
                    assert server.client is not None
                    answer = await server.client.completions.with_raw_response.create(
                        prompt=prompt, **self.request
                    )
                except APIError as failure:
                    error = failure
                    if not _may_pass(failure):
                        break
                    servers.failed(server)
                    continue
            servers.worked(server)
            return log_odds_of(answer.content, row, server.address)
        reason = str(error) or type(error).__name__
        raise GraderError(
            f"{server.address} gave no grade for completion {row} after {self.retries} further"
            f" tries ({reason}): see that the server runs and knows the model '{self.identity}'"
        ) from error


def _may_pass(error: APIError) -> bool:
    """Whether the same request may succeed later: no connection, or a status that passes."""
    from openai import APIConnectionError, APIStatusError

    if isinstance(error, APIStatusError):
        return error.status_code >= 500 or error.status_code in PASSING
    return isinstance(error, APIConnectionError)


class _LogProbs(BaseModel):
    top_logprobs: list[dict[str, float]] | None = None


class _Choice(BaseModel):
    logprobs: _LogProbs | None = None


class _Answer(BaseModel):
    """What is read of an answer in OpenAI's completions protocol."""

    choices: list[_Choice] = Field(min_length=1)


def log_odds_of(content: bytes, row: int, address: str) -> float:
    """``log P(yes) - log P(no)`` of a server's answer.

    Raises:
        GraderError: if it is no answer of the protocol, if its log-probabilities are not numbers or
            lack either word, or if another word is likelier than both.
    """
    try:
        found = _Answer.model_validate_json(content).choices[0].logprobs
    except ValidationError as error:
        raise GraderError(
            f"{address} sent no completion for completion {row} ({first_problem(error)}): see that"
            " the address is that of an OpenAI-compatible API (…/v1)"
        ) from error
    if not found or not found.top_logprobs or not found.top_logprobs[0]:
        raise GraderError(
            f"{address} sent no log-probabilities for completion {row}: the server must"
            " support `logprobs` on completions"
        )
    top = {word: value for word, value in found.top_logprobs[0].items() if not value <= NOT_SENT}
    values: dict[str, list[float]] = {"yes": [], "no": []}
    others = {}
    for word, value in top.items():
        if not value <= ROUNDING:
            raise GraderError(
                f"{address}: the log-probability of '{word}' for completion {row} is {value}"
            )
        spelt = word.strip(AROUND).casefold()
        if spelt in values:
            values[spelt].append(value)
        else:
            others[word] = value
    for name, own in values.items():
        if not own:
            raise GraderError(
                f"{address}: '{name}' is not among the {len(top)} log-probabilities sent"
                f" for completion {row}: raise the server's limit, or set grader.restrict for vLLM"
            )
    likeliest = max(others, key=lambda word: others[word], default=None)
    if likeliest is not None and others[likeliest] > max(map(np.logaddexp.reduce, values.values())):
        raise GraderError(
            f"{address}: '{likeliest}' is likelier than yes and no for completion {row}: the model"
            " does not answer the question; take another one, or set grader.restrict for vLLM"
        )
    return log_ratio(values["yes"], values["no"])
