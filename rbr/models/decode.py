"""Decoding a batch of prompts: what ``generate`` of Transformers does, in less time.

- A prompt that stands several times in a batch is read once; its keys and values are repeated.
- A row that has ended leaves the batch, so that the last steps are those of the long answers alone.
- Keys and values are written into buffers that grow by half; Transformers' cache copies all of them at
  each step.
- The heads that share keys and values (grouped-query attention) read them in place. With a padding mask
  Transformers repeats them for each head, at each step and in each layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rbr.errors import ModelError

GROUPED = "grouped_decoding"
# A batch is cut when so large a share of it has ended: to cut copies all keys and values.
CUT_SHARE = 1 / 8

# (logits of the live rows, (rows, vocabulary); their numbers) -> the next token of each, (rows,).
Choose = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
# Of a row of the batch, and the ids of its answer.
Finished = Callable[[int, Sequence[int]], None]


@dataclass(frozen=True)
class Decoded:
    """An answer's tokens, its end token among them, and whether it ended before the limit."""

    ids: list[int]
    ended: bool


def greedy(logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The likeliest token of each row."""
    return logits.argmax(-1)


class Sampler:
    """Draws a token at ``temperature`` for each row with the row's own seed.

    So a row's sample depends on no other row, nor on when others end. One uniform number a token: the
    token is where the cumulative distribution passes it.
    """

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        # On the CPU, so that a seed means the same on every device.
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._temperature = temperature

    def __call__(self, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        draws = [torch.rand(1, generator=self._generators[row]) for row in rows.tolist()]
        cumulative = (logits.float() / self._temperature).softmax(-1).cumsum(-1)
        # Of the sum itself: rounding leaves it a little off 1.
        levels = torch.stack(draws).to(cumulative) * cumulative[:, -1:]
        return torch.searchsorted(cumulative, levels, right=True).clamp(max=logits.size(-1) - 1)[
            :, 0
        ]


@torch.no_grad()  # not inference_mode: FSDP would keep its tensors
def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    end_ids: Collection[int],
    pad_id: int,
    choose: Choose = greedy,
    finished: Finished | None = None,
) -> list[Decoded]:
    """Continue token ids.

    Args:
        model: a causal model of Transformers.
        end_ids: tokens that end an answer.
        choose: picks each row's next token; ``greedy`` or a ``Sampler``.
        finished: called with each row that ends before the limit, while others are still decoded.

    Returns:
        One answer a prompt, of at most ``max_new_tokens`` tokens.

    Raises:
        ModelError: if the model's weights are broken.
    """
    device = next(model.parameters()).device
    places: dict[tuple[int, ...], int] = {}
    copies = torch.tensor([places.setdefault(tuple(ids), len(places)) for ids in prompts])
    ids, mask = left_padded(list(places), pad_id)
    ids, mask = ids.to(device), mask.to(device)
    ends = torch.tensor(sorted(end_ids), device=device)
    answers: list[list[int]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    live = torch.arange(len(prompts), device=device)
    with _grouped_attention(model):
        cache = growing_cache(model, ids.size(1) + min(max_new_tokens, 64))
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = _last_logits(model, ids, mask, positions, cache)
        if torch.isnan(logits).any():
            # Any token would do for the largest of them.
            raise ModelError("the model's logits are not numbers: its weights are broken")
        if len(places) < len(prompts):
            copies = copies.to(device)
            cache.batch_select_indices(copies)
            logits, mask = logits[copies], mask[copies]
        tokens = choose(logits, live)
        open_ = torch.ones_like(tokens, dtype=torch.bool)
        for step in range(max_new_tokens):
            for row, token in zip(live[open_].tolist(), tokens[open_].tolist(), strict=True):
                answers[row].append(token)
            done = torch.isin(tokens, ends) & open_
            for row in live[done].tolist():
                ended[row] = True
                if finished:
                    finished(row, answers[row])
            open_ = open_ & ~done
            count = int(open_.sum())
            if not count or step + 1 == max_new_tokens:
                break
            if len(open_) - count >= max(1, CUT_SHARE * len(open_)):
                kept = open_.nonzero()[:, 0]
                cache.batch_select_indices(kept)
                live, tokens, mask, open_ = live[kept], tokens[kept], mask[kept], open_[kept]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            positions = mask.sum(-1, keepdim=True) - 1
            logits = _last_logits(model, tokens[:, None], mask, positions, cache)
            # Rows that have ended but are not cut yet draw nothing.
            tokens = tokens.clone()
            tokens[open_] = choose(logits[open_], live[open_])
    return [Decoded(ids, end) for ids, end in zip(answers, ended, strict=True)]


def left_padded(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, (rows, longest), padded on the left."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), pad_id)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, longest - len(row) :] = torch.tensor(row)
        mask[place, longest - len(row) :] = 1
    return ids, mask


def _last_logits(
    model: Any,
    ids: torch.Tensor,
    mask: torch.Tensor,
    positions: torch.Tensor,
    cache: DynamicCache,
) -> torch.Tensor:
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return output.logits[:, -1]  # type: ignore[no-any-return]


class GrowingLayer(DynamicLayer):
    """Keys and values of a layer in buffers of which ``keys`` and ``values`` are the filled part."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers = [s.new_empty(0) for s in (key_states, value_states)]
            self._filled = 0
        end = self._filled + key_states.size(2)
        for place, states in enumerate((key_states, value_states)):
            buffer = self._buffers[place]
            if buffer.dim() != 4 or end > buffer.size(2) or len(buffer) != len(states):
                self._room = max(self._room, end + end // 2 if self._filled else end)
                rows, heads, _, width = states.shape
                larger = states.new_empty(rows, heads, self._room, width)
                if self._filled:
                    larger[:, :, : self._filled] = buffer[:, :, : self._filled]
                self._buffers[place] = buffer = larger
            buffer[:, :, self._filled : end] = states
        self._filled = end
        self.keys, self.values = (buffer[:, :, :end] for buffer in self._buffers)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self._buffers = [buffer[indices] for buffer in self._buffers]
        self.keys, self.values = (buffer[:, :, : self._filled] for buffer in self._buffers)


def growing_cache(model: Any, room: int) -> DynamicCache:
    """A cache with room for that many tokens; a layer of another kind than full attention keeps its own."""
    cache = DynamicCache(config=model.config)
    cache.layers = [
        GrowingLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one new token: the heads of a group are the queries of its keys and values.

    Args:
        query: (rows, heads, 1, width); longer ones are Transformers' business.
        key, value: (rows, groups, tokens, width).
    """
    rows, heads, length, _ = query.shape
    groups = key.size(1)
    per_head = attention_mask is not None and attention_mask.size(1) > 1
    if length > 1 or groups == heads or per_head or rest.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **rest)
    output = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(rows, groups, heads // groups, -1),
        key,
        value,
        attn_mask=attention_mask,
        scale=rest.get("scaling"),
    )
    return output.reshape(rows, 1, heads, -1), None


AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, sdpa_mask)


@contextmanager
def _grouped_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let a model that uses PyTorch's attention use ``grouped_attention``; any other stays as it is."""
    config = model.config
    former = config._attn_implementation
    if former != "sdpa":
        yield
        return
    config._attn_implementation = GROUPED
    try:
        yield
    finally:
        config._attn_implementation = former
