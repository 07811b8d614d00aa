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

from rbr.data.rows import Message
from rbr.errors import ModelError
from rbr.grading.base import Array, Conversation, Progress
from rbr.grading.prompts import without_special_tokens
from rbr.models.device import for_reading, on_device, reading_batches
from rbr.models.load import chat_texts, load_encoder, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Of a conversation its end; of an answer all, or of a very long one its two ends.
PROMPT_TOKENS = 160
COMPLETION_TOKENS = (768, 256)
# Tokens that the windows share over which a model with few positions reads a long answer.
OVERLAP = 32
POOLED = 4


@dataclass(frozen=True)
class Pair:
    """A conversation and its answer as token ids.

    Attributes:
        windows: what the model reads at a time: the conversation, then a stretch of the answer.
        start: where the answer begins in each window.
        unread: tokens of the answer that are in no window.
    """

    windows: tuple[tuple[int, ...], ...]
    start: int
    unread: int

    @property
    def tokens(self) -> int:
        """The number of tokens that the model reads."""
        return sum(len(window) for window in self.windows)


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
    """Conversations and answers as token ids.

    Args:
        positions: the most tokens that the model reads at a time; None for any number.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, positions: int | None = None) -> None:
        self.tokenizer = tokenizer
        joint = tokenizer.cls_token_id is not None and tokenizer.sep_token_id is not None
        self._before = [tokenizer.cls_token_id] if joint else []
        self._between = [tokenizer.sep_token_id] if joint else []
        self._after = [tokenizer.sep_token_id if joint else tokenizer.eos_token_id]
        self._positions = positions or PROMPT_TOKENS + sum(COMPLETION_TOKENS) + 3

    def __call__(
        self, conversations: Sequence[Conversation], completions: Sequence[str]
    ) -> list[Pair]:
        """One pair a row; an empty answer is its end token alone."""
        if not completions:
            return []
        # What users and models write ends no turn and begins none.
        answers = [without_special_tokens(self.tokenizer, text) for text in completions]
        talks = [
            [
                Message(role=m.role, content=without_special_tokens(self.tokenizer, m.content))
                for m in turns
            ]
            for turns in conversations
        ]
        if self.tokenizer.chat_template:
            prompts = chat_texts(self.tokenizer, talks)
        else:
            prompts = ["\n".join(m.content for m in turns) for turns in talks]
        asked = self.tokenizer(prompts, add_special_tokens=False)["input_ids"]
        answered = self.tokenizer(answers, add_special_tokens=False)["input_ids"]
        return [self._pair(prompt, answer) for prompt, answer in zip(asked, answered, strict=True)]

    def _pair(self, prompt: list[int], answer: list[int]) -> Pair:
        first, last = COMPLETION_TOKENS
        unread = max(0, len(answer) - first - last)
        if unread:
            answer = answer[:first] + answer[-last:]
        kept = min(PROMPT_TOKENS, self._positions // 3)
        head = [*self._before, *prompt[-kept:], *self._between]
        room = self._positions - len(head) - len(self._after)
        starts = range(0, max(1, len(answer) - OVERLAP), max(1, room - OVERLAP))
        windows = tuple((*head, *answer[k : k + room], *self._after) for k in starts)
        return Pair(windows, len(head), unread)

    def batch(self, pairs: Sequence[Pair]) -> dict[str, torch.Tensor]:
        """All windows, padded on the right.

        Returns:
            ``input_ids``, ``attention_mask``, ``completion_mask``, each (windows, width), and
            ``row``, (windows,): the pair that a window is of, in rising order.
        """
        windows = [(ids, pair.start, i) for i, pair in enumerate(pairs) for ids in pair.windows]
        shape = (len(windows), max(len(ids) for ids, _, _ in windows))
        ids = torch.full(shape, int(self.tokenizer.pad_token_id or 0))
        seen, answer = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        for i, (window, start, _) in enumerate(windows):
            end = len(window)
            ids[i, :end] = torch.tensor(window)
            seen[i, :end] = 1
            answer[i, start:end] = 1
        row = torch.tensor([i for _, _, i in windows])
        return {"input_ids": ids, "attention_mask": seen, "completion_mask": answer, "row": row}


def positions_of(model: PreTrainedModel) -> int | None:
    """The most tokens that a BERT-like encoder reads at a time; None for decoders, which read more."""
    if hasattr(model, "layers"):
        return None
    return int(model.config.max_position_embeddings)


def pooled(
    backbone: nn.Module,
    attention_mask: torch.Tensor,
    completion_mask: torch.Tensor,
    row: torch.Tensor,
    **inputs: torch.Tensor,
) -> torch.Tensor:
    """Mean, maximum and last of the answer's states, and the mean of the conversation's.

    The maximum is there for propositions that hold where one sentence says them. Of an answer that is
    read in windows the mean and the maximum are over all of them.

    Args:
        attention_mask, completion_mask, row: see ``PairTokenizer.batch``.
        inputs: ``input_ids`` or ``inputs_embeds``.

    Returns:
        float32, (pairs, POOLED * hidden).
    """
    if getattr(backbone.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = completion_mask
    states = backbone(attention_mask=attention_mask, **inputs).last_hidden_state.float()
    inside = completion_mask.unsqueeze(-1)
    before = (attention_mask - completion_mask).unsqueeze(-1)
    pairs = int(row[-1]) + 1
    last = torch.bincount(row, minlength=pairs).cumsum(0) - 1
    first = torch.cat([last.new_zeros(1), last[:-1] + 1])
    ends = attention_mask.sum(1)[last] - 1

    def summed(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(pairs, values.shape[1]).index_add(0, row, values)

    largest = states.masked_fill(inside == 0, torch.finfo(states.dtype).min).amax(1)
    return torch.cat(
        [
            summed((states * inside).sum(1)) / summed(inside.sum(1).to(states.dtype)),
            largest.new_zeros(pairs, largest.shape[1]).scatter_reduce(
                0, row[:, None].expand_as(largest), largest, "amax", include_self=False
            ),
            states[last, ends],
            ((states * before).sum(1) / before.sum(1).clamp(min=1))[first],
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
        if isinstance(backbone, Path):
            self.backbone = load_encoder(backbone, reading=True)
        else:
            self.backbone = for_reading(backbone)
        self.tokens = PairTokenizer(load_tokenizer(tokenizer), positions_of(self.backbone))
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
        for batch in reading_batches([pair.tokens for pair in pairs], self.batch_size):
            inputs = on_device(self.tokens.batch([pairs[i] for i in batch]), self.backbone)
            result[batch] = pooled(self.backbone, **inputs).cpu().double().numpy()
            done += len(batch)
            if progress:
                progress(done, len(pairs))
        return result
