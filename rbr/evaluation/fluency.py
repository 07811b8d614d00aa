"""Fluency: how likely a policy's answers are to the model that it was trained from.

A reward that is learnt can be satisfied by text that nobody would write. The base model knows what text
looks like: its mean token log-probability of the policy's answers, beside that of its own, shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rbr.data.rows import Conversation
from rbr.evaluation.clusters import ratio
from rbr.grading.base import Progress
from rbr.models.decode import left_padded
from rbr.models.device import on_device, reading_batches
from rbr.models.load import chat_texts, load_causal, load_tokenizer

# Tokens that the CPU reads at a time.
AREA = 2048


@dataclass(frozen=True)
class Likelihood:
    """The summed log-probability of an answer's tokens, in nats, and their number."""

    logp: float
    tokens: int


class Fluency:
    """The log-probabilities of answers under a causal model."""

    def __init__(self, model_folder: Path | str, batch_size: int = 16) -> None:
        self.model = load_causal(model_folder, reading=True)
        self.tokenizer = load_tokenizer(model_folder)
        self.batch_size = batch_size

    @torch.inference_mode()
    def __call__(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
    ) -> list[Likelihood]:
        """The likelihood of each completion, given its conversation; of an empty one 0 of no tokens."""
        prompts, answers = (
            self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
            for texts in (chat_texts(self.tokenizer, conversations), completions)
        )
        found = [Likelihood(0.0, 0)] * len(answers)
        filled = [i for i, ids in enumerate(answers) if ids]
        lengths = [len(prompts[i]) + len(answers[i]) for i in filled]
        done = 0
        for batch in reading_batches(lengths, self.batch_size, AREA):
            rows = [filled[place] for place in batch]
            for row, logp in zip(rows, self._logps(rows, prompts, answers), strict=True):
                found[row] = Likelihood(logp, len(answers[row]))
            done += len(rows)
            if progress:
                progress(done, len(filled))
        return found

    def _logps(
        self, rows: list[int], prompts: list[list[int]], answers: list[list[int]]
    ) -> list[float]:
        ids, mask = left_padded([prompts[i] + answers[i] for i in rows], 0)
        longest = max(len(answers[i]) for i in rows)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        inputs = on_device(inputs, self.model)
        logits = self.model(**inputs, logits_to_keep=longest + 1).logits.float()
        return [
            -float(
                torch.nn.functional.cross_entropy(
                    own[-len(answers[i]) - 1 : -1],
                    torch.tensor(answers[i], device=own.device),
                    reduction="sum",
                )
            )
            for i, own in zip(rows, logits, strict=True)
        ]


def mean_per_token(
    found: Sequence[Likelihood],
    bootstrap: int,
    families: Sequence[str | None] | None = None,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Mean token log-probability over all answers' tokens, with its 95 % interval over prompt families.

    NaN where no answer has a token.

    Args:
        families: of the prompts; without them each prompt stands for itself.
    """
    families = families or [None] * len(found)
    logps, tokens = [row.logp for row in found], [row.tokens for row in found]
    return ratio(logps, tokens, families, bootstrap, seed)
