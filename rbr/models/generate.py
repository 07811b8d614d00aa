"""Answers to prompts, kept as they come so that a kill loses one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import LogitsProcessor

from rbr.data.rows import Conversation
from rbr.data.turns import without_reasoning
from rbr.errors import ModelError
from rbr.files import append_rows, digest_of, read_log
from rbr.models.device import on_device
from rbr.models.load import chat_texts, load_causal, load_tokenizer
from rbr.models.trunk import length_batches
from rbr.scale.batches import run_batches

if TYPE_CHECKING:
    from rbr.scale.options import ClusterOptions


@dataclass(frozen=True)
class Batch:
    """Conversations that are answered together; each is sampled with its own seed, greedily for None."""

    conversations: tuple[Conversation, ...]
    seeds: tuple[int, ...] | None


class Sampling(LogitsProcessor):
    """Turns the largest logit of each row into a sample at ``temperature`` (the Gumbel-max trick).

    Each row draws with its own seed, so its sample depends on no other row of the batch.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, device: torch.device) -> None:
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._temperature = temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        noise = torch.empty_like(scores)
        for row, generator in zip(noise, self._generators, strict=True):
            row.exponential_(generator=generator)
        return scores / self._temperature - noise.log()


class Numbers(LogitsProcessor):
    """Refuses the logits of a broken model, which would all be answered by the first token.

    Args:
        start: length of the prompts; the logits after them are looked at.

    Raises:
        ModelError: where a logit is NaN.
    """

    def __init__(self, start: int) -> None:
        self._start = start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if input_ids.size(1) == self._start and torch.isnan(scores).any():
            raise ModelError("the model's logits are not numbers: its weights are broken")
        return scores


class Generator:
    """A model that answers batches."""

    def __init__(
        self, model_folder: Path | str, max_new_tokens: int, temperature: float = 1.0
    ) -> None:
        self.model = load_causal(model_folder, reading=True)
        self.tokenizer = load_tokenizer(model_folder)
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[str]:
        """One completion a conversation, without reasoning."""
        prompts = chat_texts(self.tokenizer, batch.conversations)
        encoded = on_device(
            self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False),
            self.model,
        )
        start = encoded["input_ids"].size(1)
        processors: list[LogitsProcessor] = [Numbers(start)]
        if batch.seeds:
            processors.append(Sampling(batch.seeds, self.temperature, self.model.device))
        output = self.model.generate(  # type: ignore[operator]
            **encoded,
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            logits_processor=processors,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        answers = self.tokenizer.batch_decode(output[:, start:], skip_special_tokens=True)
        return [
            without_reasoning(text, prompt).strip()
            for text, prompt in zip(answers, prompts, strict=True)
        ]


def generate(
    model_folder: Path | str,
    conversations: Sequence[Conversation],
    max_new_tokens: int,
    batch_size: int,
    kept: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    sample_seed: int | None = None,
    temperature: float = 1.0,
    scale: ClusterOptions | None = None,
) -> list[str]:
    """Generate one completion a conversation.

    Args:
        kept: a log of finished completions; those in it are not generated again.
        sample_seed: sample at ``temperature`` with this seed; greedy by default.
        scale: where to run; in this process by default.

    Returns:
        Completions in the order of ``conversations``, the same wherever they run and however they are
        batched (up to the rounding of padded products).
    """
    done = {row["index"]: row["completion"] for row in read_log(kept)} if kept else {}
    missing = [i for i in range(len(conversations)) if i not in done]
    # Characters stand in for tokens: the tokenizer is the worker's.
    lengths = [sum(len(m.content) for m in conversations[i]) for i in missing]
    groups = [[missing[k] for k in batch] for batch in length_batches(lengths, batch_size)]
    batches = [
        Batch(
            tuple(conversations[i] for i in group),
            None
            if sample_seed is None
            else tuple(int(digest_of(sample_seed, i), 16) for i in group),
        )
        for group in groups
    ]
    make = partial(Generator, model_folder, max_new_tokens, temperature)
    for number, answers in run_batches(make, batches, scale):
        new = dict(zip(groups[number], answers, strict=True))
        done.update(new)
        if kept:
            append_rows(kept, ({"index": i, "completion": text} for i, text in new.items()))
        if progress:
            progress(len(done), len(conversations))
    return [done[i] for i in range(len(conversations))]
