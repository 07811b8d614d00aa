"""Answers to prompts, kept as they come so that a kill loses one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbr.data.rows import Conversation
from rbr.data.turns import without_reasoning
from rbr.files import append_rows, digest_of, read_log
from rbr.models.decode import Sampler, decode, greedy
from rbr.models.load import chat_texts, load_causal, load_tokenizer
from rbr.models.trunk import length_batches
from rbr.scale.batches import run_batches

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rbr.scale.options import ClusterOptions


@dataclass(frozen=True)
class Batch:
    """Conversations that are answered together; each is sampled with its own seed, greedily for None."""

    conversations: tuple[Conversation, ...]
    seeds: tuple[int, ...] | None


@dataclass(frozen=True)
class Answer:
    """A completion without reasoning, and whether it ended by itself, before the limit of tokens."""

    text: str
    ended: bool


class Generator:
    """A model that answers batches."""

    def __init__(
        self, model_folder: Path | str, max_new_tokens: int, temperature: float = 1.0
    ) -> None:
        self.model = load_causal(model_folder, reading=True)
        self.tokenizer = load_tokenizer(model_folder)
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature

    def __call__(self, batch: Batch) -> list[Answer]:
        """One answer a conversation."""
        prompts = chat_texts(self.tokenizer, batch.conversations)
        encoded = self.tokenizer(prompts, add_special_tokens=False)["input_ids"]
        decoded = decode(
            self.model,
            encoded,
            self.max_new_tokens,
            end_tokens(self.model, self.tokenizer),
            self.tokenizer.pad_token_id,
            Sampler(batch.seeds, self.temperature) if batch.seeds else greedy,
        )
        texts = self.tokenizer.batch_decode([row.ids for row in decoded], skip_special_tokens=True)
        return [
            Answer(without_reasoning(text, prompt).strip(), row.ended)
            for text, prompt, row in zip(texts, prompts, decoded, strict=True)
        ]


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens at which a model's answers end: its own, and its tokenizer's."""
    own = model.generation_config.eos_token_id
    ids = {own} if isinstance(own, int) else set(own or ())
    return ids | ({tokenizer.eos_token_id} - {None})


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
) -> list[Answer]:
    """Generate one answer a conversation.

    Args:
        kept: a log of finished answers; those in it are not generated again.
        sample_seed: sample at ``temperature`` with this seed; greedy by default.
        scale: where to run; in this process by default.

    Returns:
        Answers in the order of ``conversations``, the same wherever they run and however they are
        batched (up to the rounding of padded products).
    """
    done = {
        row["index"]: Answer(row["completion"], row["ended"])
        for row in (read_log(kept) if kept else ())
    }
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
            append_rows(
                kept,
                ({"index": i, "completion": a.text, "ended": a.ended} for i, a in new.items()),
            )
        if progress:
            progress(len(done), len(conversations))
    return [done[i] for i in range(len(conversations))]
