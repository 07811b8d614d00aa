"""The ``openai`` engine: any server that speaks OpenAI's completions protocol, ``vllm serve`` among them.

Requests are concurrent, within a bound. Of several servers of the model the least loaded is asked; one
that fails is left out and tried again later, with growing pauses. A completion that stays without a
usable answer is an error that names it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from rbr.errors import GraderError, ServerError, first_problem
from rbr.grading.base import Array, Progress
from rbr.grading.engines.base import YesNoEngine, log_ratio
from rbr.models.chat.answer import NOT_SENT
from rbr.models.servers import Server, Servers, open_servers, run, send

# Log-probabilities that a server is asked for.
TOP = 20
ROUNDING = 1e-3
# What tokenizers and models put around a word: spaces, their marks in token names, punctuation.
AROUND = " \t\r\n▁ĠĊ.,:;!*_\"'`"


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
        return run(self._ask_rows(prompts, progress))

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

        async with (
            open_servers(self.addresses, self._key, self.concurrency, self._timeout) as servers,
            asyncio.TaskGroup() as rows,
        ):
            for i in range(len(prompts)):
                rows.create_task(ask_row(servers, i))
        return result

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

        async def create(server: Server) -> tuple[bytes, str]:
            assert server.client is not None
            completions = server.client.completions.with_raw_response
            answer = await send(completions.create, self._timeout, prompt=prompt, **self.request)
            return answer, server.address

        try:
            answer = await servers.ask(home, create, self.retries, f"grade for completion {row}")
        except ServerError as error:
            raise GraderError(
                f"{error.message} (the model is asked for as '{self.identity}')"
            ) from error
        return log_odds_of(answer[0], row, answer[1])


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
