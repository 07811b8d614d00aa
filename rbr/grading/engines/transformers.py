"""The ``transformers`` engine: all questions about an answer in one forward pass.

The prompts of a row differ only at their end. Their common beginning is computed once, and the ends
are packed behind it in one sequence under a block mask: each end sees the beginning and itself, at the
positions it would have in its own prompt. The result is that of one prompt a question.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from rbr.grading.base import Array, Progress
from rbr.grading.engines.base import YesNoEngine
from rbr.models.device import on_device, reading_batches
from rbr.models.load import load_causal
from rbr.models.trunk import decoder_of, final_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with; at least one token of each row is left over."""
    least = min(len(row) for row in rows) - 1
    first = rows[0]
    for i in range(least):
        if any(row[i] != first[i] for row in rows):
            return i
    return least


class Packed(NamedTuple):
    """Prompts with a common beginning as one sequence of t tokens.

    Attributes:
        ids, positions: (t,)
        sees: (t, t), which token attends to which.
        last: index of the last token of each prompt.
    """

    ids: list[int]
    positions: list[int]
    sees: torch.Tensor
    last: list[int]


def packed(rows: Sequence[Sequence[int]]) -> Packed:
    """Pack the token ids of prompts."""
    prefix = common_prefix(rows)
    ids, positions = list(rows[0][:prefix]), list(range(prefix))
    blocks: list[int] = [-1] * prefix
    last = []
    for number, row in enumerate(rows):
        end = row[prefix:]
        ids += end
        positions += range(prefix, prefix + len(end))
        blocks += [number] * len(end)
        last.append(len(ids) - 1)
    block = torch.tensor(blocks)
    sees = (block[:, None] == block[None, :]) | (block == -1)[None, :]
    return Packed(ids, positions, sees.tril(), last)


class TransformersEngine(YesNoEngine):
    """See ``YesNoEngine``.

    Args:
        batch_size: answers a forward pass.
        share_prefix: False asks each question in a prompt of its own: slower, for comparison.
    """

    def __init__(
        self,
        model: Path | str,
        batch_size: int = 4,
        share_prefix: bool = True,
        identity: str | None = None,
    ) -> None:
        super().__init__(model, identity)
        self.batch_size = batch_size
        self.share_prefix = share_prefix

    @cached_property
    def model(self) -> PreTrainedModel:
        """The causal language model, on the step's device."""
        return load_causal(self.model_name, reading=True)

    def load(self) -> None:
        """See ``YesNoEngine.load``."""
        _ = self.model, self.yes_no_tokens

    def log_odds(self, prompts: Sequence[Sequence[str]], progress: Progress | None = None) -> Array:
        """See ``YesNoEngine.log_odds``."""
        rows = [self.token_ids(row) for row in prompts]
        groups = rows if self.share_prefix else [[prompt] for row in rows for prompt in row]
        sequences = [packed(group) for group in groups]
        values: list[list[float]] = [[] for _ in groups]
        size = self.batch_size if self.share_prefix else self.batch_size * len(rows[0])
        done = 0
        for batch in reading_batches([len(sequence.ids) for sequence in sequences], size):
            for i, odds in zip(batch, self._forward([sequences[i] for i in batch]), strict=True):
                values[i] = odds
            done += len(batch)
            if progress:
                progress(done * len(prompts) // len(groups), len(prompts))
        return np.array(values, dtype=np.float64).reshape(len(prompts), -1)

    def _masks(
        self, sees: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """What the model adds to its attention scores; by type of layer, where some see a window alone.

        Args:
            sees: (B, 1, t, t), which token attends to which.
            positions: (B, t)
        """

        def added(seen: torch.Tensor) -> torch.Tensor:
            dtype = self.model.dtype
            zeros = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            return zeros.masked_fill(~seen, torch.finfo(dtype).min)

        config = self.model.config.get_text_config()
        window, types = (
            getattr(config, "sliding_window", None),
            getattr(config, "layer_types", None),
        )
        if not window or (types and "sliding_attention" not in types):
            return added(sees)
        near = sees & (positions[:, None, :, None] - positions[:, None, None, :] < window)
        if types is None:
            return added(near)
        return {"full_attention": added(sees), "sliding_attention": added(near)}

    @torch.inference_mode()
    def _forward(self, batch: Sequence[Packed]) -> list[list[float]]:
        width = max(len(sequence.ids) for sequence in batch)
        ids = torch.full((len(batch), width), int(self.tokenizer.pad_token_id or 0))
        positions = torch.zeros(len(batch), width, dtype=torch.long)
        sees = torch.zeros(len(batch), 1, width, width, dtype=torch.bool)
        # Padding sees itself: a row of a softmax must see something.
        sees[:, 0] = torch.eye(width, dtype=torch.bool)
        for k, sequence in enumerate(batch):
            size = len(sequence.ids)
            ids[k, :size] = torch.tensor(sequence.ids)
            positions[k, :size] = torch.tensor(sequence.positions)
            sees[k, 0, :size, :size] = sequence.sees
        # As bits: the masks' numbers would be twice or four times as much to move.
        inputs = on_device({"input_ids": ids, "position_ids": positions, "sees": sees}, self.model)
        masks = self._masks(inputs.pop("sees"), positions=inputs["position_ids"])
        decoder = decoder_of(self.model)
        states = decoder(**inputs, attention_mask=masks, use_cache=False).last_hidden_state
        yes, no = self.yes_no_tokens
        head = self.model.get_output_embeddings()
        words = torch.tensor([*yes, *no], device=states.device)
        weight = head.weight[words].float()
        bias = 0.0 if head.bias is None else head.bias[words].float()
        result = []
        for k, sequence in enumerate(batch):
            last = states[k, torch.tensor(sequence.last, device=states.device)].float()
            logits = final_logits(self.model, last @ weight.T + bias)
            odds = logits[:, : len(yes)].logsumexp(-1) - logits[:, len(yes) :].logsumexp(-1)
            result.append(odds.tolist())
        return result
