"""The ``openai`` engine: any server that speaks OpenAI's completions protocol, ``vllm serve`` among them.

Requests go out concurrently, within a bound; the client repeats what failed in passing, with growing
pauses. What stays without a usable answer is an error that names the completion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rbr.errors import GraderError
from rbr.grading.base import Progress
from rbr.grading.prompts import NO, YES, YesNoTokens

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase


class OpenAIEngine:
    """See ``YesNoEngine``.

    Args:
        address: base URL, ending in ``/v1``.
        model: the name under which the server knows the model.
        tokenizer: of that model: its chat template writes the prompts.
        key: sent as bearer token; servers of one's own mostly need none.
        restrict: send vLLM's ``allowed_token_ids``, so that the server need not rank yes and no among
            its top log-probabilities (its ``--logprobs-mode`` must be ``processed_logprobs``). Other
            servers refuse the field: leave it off.
        concurrency: requests under way at once.
        timeout: seconds a request may take.
        retries: how often a request is repeated.
    """

    def __init__(
        self,
        address: str,
        model: str,
        tokenizer: PreTrainedTokenizerBase,
        key: str | None = None,
        restrict: bool = False,
        concurrency: int = 32,
        timeout: float = 60.0,
        retries: int = 4,
        top: int = 20,
    ) -> None:
        self.address = address
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
        gate = asyncio.Semaphore(self.concurrency)
        done = 0
        async with AsyncOpenAI(
            base_url=self.address,
            api_key=self._key,
            timeout=self._timeout,
            max_retries=self._retries,
        ) as client:

            async def one(i: int, j: int) -> None:
                async with gate:
                    result[i, j] = await self._ask(client, prompts[i][j], i)

            async def row(i: int) -> None:
                nonlocal done
                # The first question fills the server's prefix cache for the others.
                await one(i, 0)
                async with asyncio.TaskGroup() as rest:
                    for j in range(1, result.shape[1]):
                        rest.create_task(one(i, j))
                done += 1
                if progress:
                    progress(done, len(prompts))

            try:
                async with asyncio.TaskGroup() as rows:
                    for i in range(len(prompts)):
                        rows.create_task(row(i))
            except BaseExceptionGroup as group:
                raise _first(group) from group
        return result

    async def _ask(self, client: Any, prompt: str, row: int) -> float:
        from openai import APIError

        try:
            answer = await client.completions.create(
                model=self.model,
                prompt=prompt,
                max_tokens=1,
                temperature=0.0,
                logprobs=self._top,
                extra_body={**self._extra, "add_special_tokens": False} if self._extra else None,
            )
        except APIError as error:
            reason = str(error) or type(error).__name__
            raise GraderError(
                f"{self.address} gave no grade for completion {row} after {self._retries} further"
                f" tries ({reason}): see that the server runs and knows the model '{self.model}'"
            ) from error
        return self._odds(answer, row)

    def _odds(self, answer: Any, row: int) -> float:
        choices = getattr(answer, "choices", None)
        found = getattr(choices[0], "logprobs", None) if choices else None
        top = getattr(found, "top_logprobs", None) if found else None
        if not top or not top[0]:
            raise GraderError(
                f"{self.address} sent no log-probabilities for completion {row}: the server must"
                " support `logprobs` on completions"
            )
        yes = [value for word, value in top[0].items() if word in YES]
        no = [value for word, value in top[0].items() if word in NO]
        if not yes or not no:
            missing = "yes" if not yes else "no"
            raise GraderError(
                f"{self.address}: '{missing}' is not among the {len(top[0])} log-probabilities sent"
                f" for completion {row}: raise the server's limit, or set grader.restrict for vLLM"
            )
        return float(np.logaddexp.reduce(yes) - np.logaddexp.reduce(no))


def _first(group: BaseExceptionGroup) -> BaseException:
    """The first plain error of nested groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
