"""Capability: held-out language-model loss and multiple-choice items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rbr.data.rows import CapabilityItem, CapabilityText, Message
from rbr.models.device import on_device, reading_batches
from rbr.models.load import load_causal, load_tokenizer, prompt_text
from rbr.models.trunk import decoder_of, final_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Rows and tokens that the CPU reads at a time: most rows are a dozen or two tokens long.
ROWS = 64
AREA = 2048


def capability(
    model_folder: Path | str, items: Sequence[CapabilityItem], texts: Sequence[CapabilityText]
) -> tuple[dict[str, float], list[bool]]:
    """Mean token loss (nats) over texts, and accuracy over items (chance: 0.25).

    An item's answer is the choice with the highest mean token log-probability.

    Returns:
        ``loss`` and ``accuracy``, and whether each item is right.
    """
    model, tokenizer = load_causal(model_folder, reading=True), load_tokenizer(model_folder)
    rows = [("", text.text) for text in texts]
    for item in items:
        question = prompt_text(tokenizer, [Message(role="user", content=item.question)])
        rows += [(question, choice) for choice in item.choices]
    found = token_logps(model, tokenizer, rows)
    loss = -torch.cat(found[: len(texts)]).mean()
    means = iter(float(logps.mean()) for logps in found[len(texts) :])
    right = []
    for item in items:
        scores = [next(means) for _ in item.choices]
        right.append(item.choices[scores.index(max(scores))] == item.answer)
    return {"loss": float(loss), "accuracy": sum(right) / max(1, len(items))}, right


@torch.inference_mode()
def token_logps(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[tuple[str, str]],
) -> list[torch.Tensor]:
    """Log-probabilities of the tokens of each text, given what stands before it.

    Args:
        rows: (what stands before, text); of a text with nothing before it, its first token has none.

    Returns:
        float32 on the CPU, one tensor a row.
    """
    before, after = (
        [tokenizer(text, add_special_tokens=False)["input_ids"] for text in column]
        for column in zip(*rows, strict=True)
    )
    ids = [[*head, *tail] for head, tail in zip(before, after, strict=True)]
    found: list[torch.Tensor] = [torch.empty(0)] * len(rows)
    for batch in reading_batches([len(row) for row in ids], ROWS, AREA):
        encoded = tokenizer.pad(
            {"input_ids": [ids[i] for i in batch]}, return_tensors="pt", padding_side="right"
        )
        inputs = on_device(encoded, model)
        states = decoder_of(model)(**inputs, use_cache=False).last_hidden_state
        for i, own in zip(batch, states, strict=True):
            # Of the text alone: over a large vocabulary the logits are most of the memory.
            start, end = max(1, len(before[i])), len(ids[i])
            logits = model.get_output_embeddings()(own[start - 1 : end - 1])
            logps = final_logits(model, logits.float()).log_softmax(-1)
            picked = torch.tensor(ids[i][start:end], device=logps.device)[:, None]
            found[i] = logps.gather(-1, picked)[:, 0].cpu()
    return found
