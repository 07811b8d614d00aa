"""Reading a conversation with its answer: one pass of a backbone, pooled over the answer.

Works on decoders (the policy model's lower layers) and on BERT-like encoders (the judge's).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from rbr.errors import ModelError
from rbr.grading.base import Array, Conversation, Progress
from rbr.models.load import chat_texts, load_encoder, load_tokenizer
from rbr.models.trunk import length_batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Of a conversation its end, of an answer its two ends: what is longer is left out in between.
PROMPT_TOKENS = 160
COMPLETION_TOKENS = (200, 56)
POOLED = 4


@dataclass(frozen=True)
class Pair:
    """Token ids of a conversation and its answer; the answer begins at ``start``."""

    ids: list[int]
    start: int


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The layers of a backbone, lowest first.

    Raises:
        ModelError: if the architecture's layers cannot be found.
    """
    layers = getattr(model, "layers", None)
    if layers is None:
        layers = getattr(getattr(model, "encoder", None), "layer", None)
    if layers is None:
        raise ModelError(
            f"{type(model).__name__} has no layers that can be cut: use an architecture of the Llama"
            " family or of BERT's"
        )
    return layers


def first_layers(model: PreTrainedModel, count: int) -> PreTrainedModel:
    """Drop all but the first ``count`` layers of a backbone (all are kept where it has no more).

    Raises:
        ModelError: see ``layers_of``.
    """
    kept = layers_of(model)[:count]
    if hasattr(model, "layers"):
        model.layers = kept
    else:
        model.encoder.layer = kept
    model.config.num_hidden_layers = len(kept)
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[: len(kept)]
    model.config.use_cache = False
    return model


class PairTokenizer:
    """Conversations and answers as token ids."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        joint = tokenizer.cls_token_id is not None and tokenizer.sep_token_id is not None
        self._before = [tokenizer.cls_token_id] if joint else []
        self._between = [tokenizer.sep_token_id] if joint else []
        self._after = [tokenizer.sep_token_id if joint else tokenizer.eos_token_id]

    def __call__(
        self, conversations: Sequence[Conversation], completions: Sequence[str]
    ) -> list[Pair]:
        """One pair a row; an empty answer is its end token alone."""
        if not completions:
            return []
        if self.tokenizer.chat_template:
            prompts = chat_texts(self.tokenizer, conversations)
        else:
            prompts = ["\n".join(m.content for m in turns) for turns in conversations]
        asked = self.tokenizer(prompts, add_special_tokens=False)["input_ids"]
        answered = self.tokenizer(list(completions), add_special_tokens=False)["input_ids"]
        first, last = COMPLETION_TOKENS
        pairs = []
        for prompt, answer in zip(asked, answered, strict=True):
            if len(answer) > first + last:
                answer = answer[:first] + answer[-last:]
            head = [*self._before, *prompt[-PROMPT_TOKENS:], *self._between]
            pairs.append(Pair([*head, *answer, *self._after], len(head)))
        return pairs

    def batch(self, pairs: Sequence[Pair]) -> dict[str, torch.Tensor]:
        """Pad on the right: ``input_ids``, ``attention_mask``, ``completion_mask``, all (n, width)."""
        shape = (len(pairs), max(len(pair.ids) for pair in pairs))
        ids = torch.full(shape, int(self.tokenizer.pad_token_id or 0))
        seen, answer = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        for i, pair in enumerate(pairs):
            end = len(pair.ids)
            ids[i, :end] = torch.tensor(pair.ids)
            seen[i, :end] = 1
            answer[i, pair.start : end] = 1
        return {"input_ids": ids, "attention_mask": seen, "completion_mask": answer}


def pooled(
    backbone: nn.Module,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    completion_mask: torch.Tensor,
) -> torch.Tensor:
    """Mean, maximum and last of the answer's states, and the mean of the conversation's.

    The maximum is there for propositions that hold where one sentence says them.

    Args:
        input_ids, attention_mask, completion_mask: (n, width), padded on the right.

    Returns:
        float32, (n, POOLED * hidden).
    """
    more = {}
    if getattr(backbone.config, "type_vocab_size", 0) > 1:
        more["token_type_ids"] = completion_mask
    states = backbone(
        input_ids=input_ids, attention_mask=attention_mask, **more
    ).last_hidden_state.float()
    inside = completion_mask.unsqueeze(-1)
    before = (attention_mask - completion_mask).unsqueeze(-1)
    rows = torch.arange(len(states), device=states.device)
    return torch.cat(
        [
            (states * inside).sum(1) / inside.sum(1),
            states.masked_fill(inside == 0, torch.finfo(states.dtype).min).amax(1),
            states[rows, attention_mask.sum(1) - 1],
            (states * before).sum(1) / before.sum(1).clamp(min=1),
        ],
        dim=1,
    )


class PairEncoder:
    """Pooled states of conversations and answers, from a backbone in a folder.

    Args:
        backbone: folder of the (tuned) backbone, or the backbone itself.
        tokenizer: folder or hub name of the model whose tokenizer it reads by.
    """

    def __init__(
        self,
        backbone: Path | PreTrainedModel,
        tokenizer: Path | str,
        batch_size: int = 32,
    ) -> None:
        model = load_encoder(backbone) if isinstance(backbone, Path) else backbone
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.backbone = model.to(self.device).eval()
        self.tokens = PairTokenizer(load_tokenizer(tokenizer))
        self.batch_size = batch_size

    @torch.inference_mode()
    def __call__(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
    ) -> Array:
        """Features of shape (n, POOLED * hidden)."""
        pairs = self.tokens(conversations, completions)
        width = POOLED * int(self.backbone.config.hidden_size)
        result = np.zeros((len(pairs), width))
        done = 0
        for batch in length_batches([len(pair.ids) for pair in pairs], self.batch_size):
            padded = self.tokens.batch([pairs[i] for i in batch])
            inputs = {name: value.to(self.device) for name, value in padded.items()}
            result[batch] = pooled(self.backbone, **inputs).cpu().double().numpy()
            done += len(batch)
            if progress:
                progress(done, len(pairs))
        return result
