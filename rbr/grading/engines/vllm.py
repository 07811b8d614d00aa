"""The ``vllm`` engine: offline batch inference; automatic prefix caching shares the questions' prefix."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rbr.errors import GraderError, ModelError
from rbr.grading.base import Array, Progress
from rbr.grading.engines.base import YesNoEngine, log_ratio


class VLLMEngine(YesNoEngine):
    """See ``YesNoEngine``.

    Args:
        options: further arguments of ``vllm.LLM`` (``dtype``, ``tensor_parallel_size``, ...).
    """

    def __init__(
        self,
        model: Path | str,
        batch_size: int = 256,
        identity: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, identity)
        self.batch_size = batch_size
        self.options = options

    @cached_property
    def engine(self) -> Any:
        """``vllm.LLM``.

        Raises:
            ModelError: if vLLM is not installed.
        """
        try:
            from vllm import LLM
        except ImportError as error:
            raise ModelError(
                "grader.engine 'vllm' needs vLLM: pip install '.[vllm]' (without a GPU: `make vllm`)"
            ) from error
        # Log-probabilities are taken after the restriction to yes and no tokens: so all of these come
        # back, whatever the rest of the vocabulary does.
        return LLM(
            model=self.model_name,
            enable_prefix_caching=True,
            logprobs_mode="processed_logprobs",
            max_logprobs=max(20, sum(map(len, self.yes_no_tokens))),
            **self.options,
        )

    def load(self) -> None:
        """See ``YesNoEngine.load``."""
        _ = self.engine

    def log_odds(self, prompts: Sequence[Sequence[str]], progress: Progress | None = None) -> Array:
        """See ``YesNoEngine.log_odds``."""
        generate = self.engine.generate
        from vllm import SamplingParams

        words = [word for words in self.yes_no_tokens for word in words]
        sampling = SamplingParams(
            max_tokens=1, temperature=0.0, logprobs=len(words), allowed_token_ids=words
        )
        rows = [self.token_ids(row) for row in prompts]
        result = np.zeros((len(rows), len(rows[0]) if rows else 0))
        for start in range(0, len(rows), self.batch_size):
            batch = range(start, min(start + self.batch_size, len(rows)))
            # Questions sent at once about one answer would all be prefilled apart: one goes first.
            for columns in (range(1), range(1, result.shape[1])):
                places = [(i, j) for i in batch for j in columns]
                prompt_ids = [{"prompt_token_ids": rows[i][j]} for i, j in places]
                outputs = generate(prompt_ids, sampling, use_tqdm=False)
                for (i, j), output in zip(places, outputs, strict=True):
                    result[i, j] = self._odds(output, i)
            if progress:
                progress(batch.stop, len(rows))
        return result

    def _odds(self, output: Any, row: int) -> float:
        found = (output.outputs[0].logprobs or [{}])[0]
        yes, no = (
            [found[token].logprob for token in tokens if token in found]
            for tokens in self.yes_no_tokens
        )
        if not yes or not no:
            raise GraderError(f"vLLM gave no log-probability of yes and no for completion {row}")
        return log_ratio(yes, no)
