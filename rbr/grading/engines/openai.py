"""The ``openai`` engine: any server that speaks OpenAI's completions protocol, ``vllm serve`` among them.

Requests are concurrent, within a bound. Of several servers of the model the least loaded is asked; one
that fails is left out and tried again later, with growing pauses. A completion that stays without a
usable answer is an error that names it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rbr.errors import GraderError
from rbr.grading.base import Progress
from rbr.grading.engines.servers import Server, Servers
from rbr.grading.prompts import NO, YES, YesNoTokens

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from openai import APIError, AsyncOpenAI
    from transformers import PreTrainedTokenizerBase

# Statuses below 500 that pass: time-out, conflict, too many requests.
PASSING = (408, 409, 429)


class OpenAIEngine:
    """See ``YesNoEngine``.

    Args:
        address: base URL, ending in ``/v1``; or several, of servers of the same model.
        model: the name under which the server knows the model.
        tokenizer: of that model: its chat template writes the prompts.
        key: the bearer token; most self-hosted servers need none.
        restrict: send vLLM's ``allowed_token_ids``, so that the server need not rank yes and no among
            its top log-probabilities (its ``--logprobs-mode`` must be ``processed_logprobs``). Other
            servers refuse the field: leave it off.
        concurrency: requests under way at once, a server.
        timeout: seconds a request may take.
        retries: how often a request is repeated, here or on another server.

    Attributes:
        asked: requests sent to each server, by address.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        model: str,
        tokenizer: PreTrainedTokenizerBase,
        key: str | None = None,
        restrict: bool = False,
        concurrency: int = 32,
        timeout: float = 60.0,
        retries: int = 4,
        top: int = 20,
    ) -> None:
        self.addresses = (address,) if isinstance(address, str) else tuple(address)
        self.asked = dict.fromkeys(self.addresses, 0)
        self.model = model
        self.tokenizer = tokenizer
        self.tokens = YesNoTokens.of(tokenizer)
        self.identity = model
        self.concurrency = concurrency
        self._key = key or "none"
        self._timeout = timeout
        self.retries = retries
        # Arguments of every request beside its prompt.
        self.request: dict[str, Any] = {
            "model": model,
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": top,
        }
        if restrict:
            allowed = [*self.tokens.yes, *self.tokens.no]
            self.request["extra_body"] = {"allowed_token_ids": allowed, "add_special_tokens": False}

    def log_odds(
        self, prompts: Sequence[Sequence[str]], progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """See ``YesNoEngine.log_odds``."""
        return asyncio.run(self._ask_rows(prompts, progress))

    async def _ask_rows(
        self, prompts: Sequence[Sequence[str]], progress: Progress | None
    ) -> NDArray[np.float64]:
        result = np.zeros((len(prompts), len(prompts[0]) if prompts else 0))
        servers = Servers(self.addresses, self.concurrency)
        # Enough rows at once to keep all servers busy, and no more: a slow server should get few.
        at_once = max(2, -(-2 * self.concurrency // max(1, result.shape[1]))) * len(self.addresses)
        gate = asyncio.Semaphore(at_once)
        done = 0

        async def ask_row(session: _Session, i: int) -> None:
            nonlocal done
            async with gate:
                result[i] = await session.ask_row(prompts[i], i)
            done += 1
            if progress:
                progress(done, len(prompts))

        try:
            async with AsyncExitStack() as stack:
                clients = {
                    address: await stack.enter_async_context(self._client(address))
                    for address in self.addresses
                }
                session = _Session(self, servers, clients)
                async with asyncio.TaskGroup() as rows:
                    for i in range(len(prompts)):
                        rows.create_task(ask_row(session, i))
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            for server in servers.every:
                self.asked[server.address] += server.asked
        return result

    def _client(self, address: str) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        return AsyncOpenAI(
            base_url=address, api_key=self._key, timeout=self._timeout, max_retries=0
        )


@dataclass(frozen=True)
class _Session:
    """The requests of one ``log_odds``."""

    engine: OpenAIEngine
    servers: Servers
    clients: Mapping[str, AsyncOpenAI]

    async def ask_row(self, prompts: Sequence[str], row: int) -> list[float]:
        """The log odds of one completion's prompts."""
        home = self.servers.choose()
        home.load += 1
        try:
            # The first question fills the server's prefix cache for the others.
            first = await self.ask(home, prompts[0], row)
            async with asyncio.TaskGroup() as group:
                rest = [group.create_task(self.ask(home, prompt, row)) for prompt in prompts[1:]]
            return [first, *(task.result() for task in rest)]
        finally:
            home.load -= 1

    async def ask(self, home: Server, prompt: str, row: int) -> float:
        """Ask ``home``, whose cache has the row's prefix; another server while it is left out."""
        from openai import APIError

        server, error, tries = home, None, 0
        while tries <= self.engine.retries:
            server = home if self.servers.usable(home) else self.servers.choose()
            if tries:
                await asyncio.sleep(self.servers.wait(server))
            async with server.gate:
                if not self.servers.usable(server) and self.servers.usable(self.servers.choose()):
                    continue  # it failed others while this request waited for its turn
                server.asked += 1
                tries += 1
                try:
                    answer = await self.clients[server.address].completions.create(
                        prompt=prompt, **self.engine.request
                    )
                except APIError as failure:
                    error = failure
                    if not _may_pass(failure):
                        break
                    self.servers.failed(server)
                    continue
            self.servers.worked(server)
            return log_odds_of(answer, row, server.address)
        reason = str(error) or type(error).__name__
        raise GraderError(
            f"{server.address} gave no grade for completion {row} after {self.engine.retries} further"
            f" tries ({reason}): see that the server runs and knows the model '{self.engine.model}'"
        ) from error


def _may_pass(error: APIError) -> bool:
    """Whether the same request may succeed later: no connection, or a status that passes."""
    from openai import APIConnectionError, APIStatusError

    if isinstance(error, APIStatusError):
        return error.status_code >= 500 or error.status_code in PASSING
    return isinstance(error, APIConnectionError)


def log_odds_of(answer: Any, row: int, address: str) -> float:
    """``log P(yes) - log P(no)`` of a server's answer.

    Raises:
        GraderError: if its log-probabilities lack either word.
    """
    choices = getattr(answer, "choices", None)
    found = getattr(choices[0], "logprobs", None) if choices else None
    top = getattr(found, "top_logprobs", None) if found else None
    if not top or not top[0]:
        raise GraderError(
            f"{address} sent no log-probabilities for completion {row}: the server must"
            " support `logprobs` on completions"
        )
    yes = [value for word, value in top[0].items() if word in YES]
    no = [value for word, value in top[0].items() if word in NO]
    if not yes or not no:
        missing = "no" if yes else "yes"
        raise GraderError(
            f"{address}: '{missing}' is not among the {len(top[0])} log-probabilities sent"
            f" for completion {row}: raise the server's limit, or set grader.restrict for vLLM"
        )
    return float(np.logaddexp.reduce(yes) - np.logaddexp.reduce(no))


def _first(group: BaseExceptionGroup) -> BaseException:
    """The first plain error of nested groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
