"""Answers to held-out prompts, greedy, kept as they come so that a kill loses one batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from rbr.grading.base import Conversation
from rbr.models.load import chat_texts, load_causal, load_tokenizer
from rbr.models.trunk import length_batches


@torch.inference_mode()
def generate(
    model_folder: Path | str,
    conversations: Sequence[Conversation],
    max_new_tokens: int,
    batch_size: int,
    kept: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    sample_seed: int | None = None,
    temperature: float = 1.0,
) -> list[str]:
    """Generate one completion a conversation.

    Args:
        kept: a JSON-lines file of finished ones; those in it are not generated again.
        sample_seed: sample at ``temperature`` with this seed; greedy by default.

    Returns:
        Completions in the order of ``conversations``.
    """
    done: dict[int, str] = {}
    if kept is not None and kept.exists():
        for line in kept.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                break  # the last line of a killed run
            done[int(row["index"])] = row["completion"]
    missing = [i for i in range(len(conversations)) if i not in done]
    if missing:
        model = load_causal(model_folder)
        tokenizer = load_tokenizer(model_folder)
        texts = chat_texts(tokenizer, [conversations[i] for i in missing])
        if sample_seed is not None:
            torch.manual_seed(sample_seed)
        for batch in length_batches([len(text) for text in texts], batch_size):
            encoded = tokenizer(
                [texts[i] for i in batch],
                return_tensors="pt",
                padding=True,
                add_special_tokens=False,
            )
            output = model.generate(
                **encoded,
                max_new_tokens=max_new_tokens,
                do_sample=sample_seed is not None,
                temperature=temperature if sample_seed is not None else None,
                top_p=None,
                top_k=0 if sample_seed is not None else None,
                pad_token_id=tokenizer.pad_token_id,
            )
            answers = tokenizer.batch_decode(
                output[:, encoded["input_ids"].size(1) :], skip_special_tokens=True
            )
            new = {missing[i]: text.strip() for i, text in zip(batch, answers, strict=True)}
            done.update(new)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                with kept.open("a", encoding="utf-8") as file:
                    for index, completion in new.items():
                        file.write(json.dumps({"index": index, "completion": completion}) + "\n")
            if progress:
                progress(len(done), len(conversations))
    return [done[i] for i in range(len(conversations))]
