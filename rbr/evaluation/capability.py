"""Capability: held-out language-model loss and multiple-choice items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from rbr.data.rows import CapabilityItem, CapabilityText, Message
from rbr.models.load import load_causal, load_tokenizer, prompt_text


@torch.inference_mode()
def capability(
    model_folder: Path | str, items: Sequence[CapabilityItem], texts: Sequence[CapabilityText]
) -> dict[str, float]:
    """Mean token loss (nats) over texts, and accuracy over items (chance: 0.25).

    An item's answer is the choice with the highest mean token log-probability.
    """
    model, tokenizer = load_causal(model_folder), load_tokenizer(model_folder)

    def token_logps(head: str, tail: str) -> torch.Tensor:
        before = tokenizer(head, add_special_tokens=False)["input_ids"]
        after = tokenizer(tail, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([before + after])
        logps = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        picked = logps.gather(-1, ids[0, 1:, None])[:, 0]
        return picked[-len(after) :] if before else picked

    losses = torch.cat([-token_logps("", text.text) for text in texts])
    right = 0
    for item in items:
        question = prompt_text(tokenizer, [Message(role="user", content=item.question)])
        scores = [float(token_logps(question, choice).mean()) for choice in item.choices]
        right += item.choices[scores.index(max(scores))] == item.answer
    return {"loss": float(losses.mean()), "accuracy": right / max(1, len(items))}
