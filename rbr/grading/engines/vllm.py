"""The ``vllm`` engine: offline batch inference; automatic prefix caching shares the questions' prefix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rbr.errors import GraderError, ModelError
from rbr.grading.base import Progress
from rbr.grading.prompts import YesNoTokens
from rbr.models.load import load_tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray


class VLLMEngine:
    """See ``YesNoEngine``.

    Args:
        model: a folder or a hub name.
        options: further arguments of ``vllm.LLM`` (``dtype``, ``tensor_parallel_size``, ...).

    Raises:
        ModelError: if vLLM is not installed or cannot load the model.
    """

    def __init__(
        self,
        model: Path | str,
        batch_size: int = 256,
        identity: str | None = None,
        **options: Any,
    ) -> None:
        try:
            from vllm import LLM, SamplingParams
        except ImportError as error:
            raise ModelError(
                "grader.engine 'vllm' needs vLLM: pip install '.[vllm]' (without a GPU: `make vllm`)"
            ) from error
        self.tokenizer = load_tokenizer(model)
        self.tokens = YesNoTokens.of(self.tokenizer)
        words = [*self.tokens.yes, *self.tokens.no]
        # Only the verdict's tokens may be sampled, and log-probabilities are taken after that
        # restriction: so all of them come back, whatever the rest of the vocabulary does.
        self.engine = LLM(
            model=str(model),
            enable_prefix_caching=True,
            logprobs_mode="processed_logprobs",
            max_logprobs=max(20, len(words)),
            **options,
        )
        self._sampling = SamplingParams(
            max_tokens=1, temperature=0.0, logprobs=len(words), allowed_token_ids=words
        )
        self.batch_size = batch_size
        self.identity = identity or str(model)

    def log_odds(
        self, prompts: Sequence[Sequence[str]], progress: Progress | None = None
    ) -> NDArray[np.float64]:
        """See ``YesNoEngine.log_odds``."""
        rows = [self.tokenizer(list(row), add_special_tokens=False)["input_ids"] for row in prompts]
        result = np.zeros((len(rows), len(rows[0]) if rows else 0))
        for start in range(0, len(rows), self.batch_size):
            part = range(start, min(start + self.batch_size, len(rows)))
            # Questions sent at once about one answer would all be prefilled apart: one goes first.
            for columns in (range(1), range(1, result.shape[1])):
                places = [(i, j) for i in part for j in columns]
                if not places:
                    continue
                outputs = self.engine.generate(
                    [{"prompt_token_ids": rows[i][j]} for i, j in places],
                    self._sampling,
                    use_tqdm=False,
                )
                for (i, j), output in zip(places, outputs, strict=True):
                    result[i, j] = self._odds(output, i)
            if progress:
                progress(part.stop, len(rows))
        return result

    def _odds(self, output: Any, row: int) -> float:
        found = output.outputs[0].logprobs
        if not found:
            raise GraderError(f"vLLM gave no log-probabilities for completion {row}")
        values = {token: entry.logprob for token, entry in found[0].items()}
        yes = [values[token] for token in self.tokens.yes if token in values]
        no = [values[token] for token in self.tokens.no if token in values]
        if not yes or not no:
            raise GraderError(f"vLLM gave no log-probability of yes and no for completion {row}")
        return float(np.logaddexp.reduce(yes) - np.logaddexp.reduce(no))
