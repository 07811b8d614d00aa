"""Answers to prompts, kept as they come so that a kill loses one batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rbr.data.rows import Conversation
from rbr.models.load import chat_texts, load_causal, load_tokenizer
from rbr.models.trunk import length_batches
from rbr.scale.batches import run_batches

if TYPE_CHECKING:
    from rbr.scale.options import ClusterOptions


@dataclass(frozen=True)
class Batch:
    """Conversations that are answered together; sampled with ``seed``, greedily for None."""

    conversations: tuple[Conversation, ...]
    seed: int | None


class Generator:
    """A model that answers batches."""

    def __init__(
        self, model_folder: Path | str, max_new_tokens: int, temperature: float = 1.0
    ) -> None:
        self.model = load_causal(model_folder)
        if torch.cuda.is_available():
            self.model.to("cuda")
        self.tokenizer = load_tokenizer(model_folder)
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[str]:
        """One completion a conversation."""
        sampled = batch.seed is not None
        if batch.seed is not None:
            torch.manual_seed(batch.seed)
        encoded = self.tokenizer(
            chat_texts(self.tokenizer, batch.conversations),
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
        ).to(self.model.device)
        output = self.model.generate(  # type: ignore[operator]
            **encoded,
            max_new_tokens=self.max_new_tokens,
            do_sample=sampled,
            temperature=self.temperature if sampled else None,
            top_p=None,
            top_k=0 if sampled else None,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        answers = self.tokenizer.batch_decode(
            output[:, encoded["input_ids"].size(1) :], skip_special_tokens=True
        )
        return [text.strip() for text in answers]


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
        kept: a JSON-lines file of finished completions; those in it are not generated again.
        sample_seed: sample at ``temperature`` with this seed; greedy by default.
        scale: where to run; in this process by default.

    Returns:
        Completions in the order of ``conversations``, the same wherever they run.
    """
    done = {} if kept is None else _finished(kept)
    missing = [i for i in range(len(conversations)) if i not in done]
    # Characters stand in for tokens: the tokenizer is the worker's.
    lengths = [sum(len(m.content) for m in conversations[i]) for i in missing]
    groups = [[missing[k] for k in batch] for batch in length_batches(lengths, batch_size)]
    batches = [
        Batch(
            tuple(conversations[i] for i in group),
            # Each batch draws by itself, so that it is the same in any order and on any worker.
            None if sample_seed is None else sample_seed + min(group),
        )
        for group in groups
    ]
    make = partial(Generator, model_folder, max_new_tokens, temperature)
    for number, answers in run_batches(make, batches, scale):
        new = dict(zip(groups[number], answers, strict=True))
        done.update(new)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with kept.open("a", encoding="utf-8") as file:
                for index, completion in new.items():
                    file.write(json.dumps({"index": index, "completion": completion}) + "\n")
        if progress:
            progress(len(done), len(conversations))
    return [done[i] for i in range(len(conversations))]


def _finished(kept: Path) -> dict[int, str]:
    """The completions of a killed run, up to its first torn line."""
    done: dict[int, str] = {}
    if kept.exists():
        for line in kept.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                break
            done[int(row["index"])] = row["completion"]
    return done
