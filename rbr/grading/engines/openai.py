"""The ``openai`` engine: any server that speaks OpenAI's completions protocol, ``vllm serve`` among them.

Requests go out concurrently, within a bound. Of several servers of the model the least loaded is asked;
one that fails is left out and tried again later, with growing pauses. What stays without a usable answer
is an error that names the completion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from rbr.errors import GraderError
from rbr.grading.base import Progress
from rbr.grading.engines.servers import Server, Servers
from rbr.grading.prompts import NO, YES, YesNoTokens

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from openai import AsyncOpenAI
    from transformers import PreTrainedTokenizerBase

# Statuses below 500 that pass: time-out, conflict, too many requests.
PASSING = (408, 409, 429)


class OpenAIEngine:
    """See ``YesNoEngine``.

    Args:
        address: base URL, ending in ``/v1``; or several, of servers of the same model.
        model: the name under which the server knows the model.
        tokenizer: of that model: its chat template writes the prompts.
        key: sent as bearer token; servers of one's own mostly need none.
        restrict: send vLLM's ``allowed_token_ids``, so that the server need not rank yes and no among
            its top log-probabilities (its ``--logprobs-mode`` must be ``processed_logprobs``). Other
            servers refuse the field: leave it off.
        concurrency: requests under way at once, a server.
        timeout: seconds a request may take.
        retries: how often a request is repeated, here or on another server.

    Attributes:
        asked: requests that each server was sent, by address.
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
        self._retries = retries
        self._top = top
        self._extra: dict[str, Any] = (
            {"allowed_token_ids": [*self.tokens.yes, *self.tokens.no]} if restrict else {}
        )

    def log_odds(
        self, prompts: Sequence[Sequence[str]], progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """See ``YesNoEngine.log_odds``."""
        return asyncio.run(self._all(prompts, progress))

    async def _all(
        self, prompts: Sequence[Sequence[str]], progress: Progress | None
    ) -> NDArray[np.float64]:
        from openai import AsyncOpenAI

        result = np.zeros((len(prompts), len(prompts[0]) if prompts else 0))
        servers = Servers(self.addresses, self.concurrency)
        # Enough answers at once to keep all servers busy, and no more: a slow server is to be given few.
        at_once = max(2, -(-2 * self.concurrency // max(1, result.shape[1]))) * len(self.addresses)
        gate = asyncio.Semaphore(at_once)
        done = 0
        async with AsyncExitStack() as stack:
            clients = {
                address: await stack.enter_async_context(
                    AsyncOpenAI(
                        base_url=address, api_key=self._key, timeout=self._timeout, max_retries=0
                    )
                )
                for address in self.addresses
            }

            async def row(i: int) -> None:
                nonlocal done
                async with gate:
                    home = servers.choose()
                    home.load += 1
                    try:
                        # The first question fills the server's prefix cache for the others.
                        result[i, 0] = await self._ask(clients, servers, home, prompts[i][0], i)
                        async with asyncio.TaskGroup() as rest:
                            tasks = [
                                rest.create_task(self._ask(clients, servers, home, prompt, i))
                                for prompt in prompts[i][1:]
                            ]
                        result[i, 1:] = [task.result() for task in tasks]
                    finally:
                        home.load -= 1
                done += 1
                if progress:
                    progress(done, len(prompts))

            try:
                async with asyncio.TaskGroup() as rows:
                    for i in range(len(prompts)):
                        rows.create_task(row(i))
            except BaseExceptionGroup as group:
                raise _first(group) from group
            finally:
                for server in servers.every:
                    self.asked[server.address] += server.asked
        return result

    async def _ask(
        self,
        clients: Mapping[str, AsyncOpenAI],
        servers: Servers,
        home: Server,
        prompt: str,
        row: int,
    ) -> float:
        """Ask ``home``, whose cache has the answer's prefix; another one while it is left out."""
        from openai import APIConnectionError, APIError, APIStatusError

        server = home
        error: APIError | None = None
        tries = 0
        while tries <= self._retries:
            server = home if servers.usable(home) else servers.choose()
            if tries:
                await asyncio.sleep(servers.wait(server))
            async with server.gate:
                if not servers.usable(server) and servers.usable(servers.choose()):
                    continue  # it failed others while this request waited for its turn
                server.asked += 1
                tries += 1
                try:
                    answer = await clients[server.address].completions.create(
                        model=self.model,
                        prompt=prompt,
                        max_tokens=1,
                        temperature=0.0,
                        logprobs=self._top,
                        extra_body={**self._extra, "add_special_tokens": False}
                        if self._extra
                        else None,
                    )
                except (APIConnectionError, APIStatusError) as failure:
                    error = failure
                    status = getattr(failure, "status_code", 500)
                    if status < 500 and status not in PASSING:
                        break
                    servers.failed(server)
                    continue
                except APIError as failure:
                    error = failure
                    break
            servers.worked(server)
            return self._odds(answer, row, server.address)
        reason = str(error) or type(error).__name__
        raise GraderError(
            f"{server.address} gave no grade for completion {row} after {self._retries} further"
            f" tries ({reason}): see that the server runs and knows the model '{self.model}'"
        ) from error

    def _odds(self, answer: Any, row: int, address: str) -> float:
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
            missing = "yes" if not yes else "no"
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
