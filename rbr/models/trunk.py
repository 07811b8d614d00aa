"""Running part of a decoder: a frozen trunk of lower layers, and the upper layers that are trained.

On two cores the trunk is half of the work of a training step. Policy, reference and value function
share it, so it is run once a rollout and its output is kept.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from rbr.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def decoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """The decoder (without its head) of a causal or classification model.

    Raises:
        ModelError: if the architecture has no list of decoder layers and a final norm.
    """
    decoder = getattr(model, model.base_model_prefix, model)
    if not (hasattr(decoder, "layers") and hasattr(decoder, "norm")):
        raise ModelError(
            f"{type(model).__name__} has no decoder layers that can be split: use an architecture of"
            " the Llama family (Llama, Mistral, Qwen, SmolLM)"
        )
    return decoder


def part_of(decoder: PreTrainedModel, start: int, stop: int, norm: bool) -> PreTrainedModel:
    """A view of layers ``start`` to ``stop`` of a decoder; parameters are shared, not copied.

    Call it with ``inputs_embeds`` for ``start`` > 0. ``norm`` keeps the final norm.
    """
    part = copy.copy(decoder)
    part._modules = dict(decoder._modules)
    part.config = copy.deepcopy(decoder.config)
    part.config.num_hidden_layers = stop - start
    if getattr(part.config, "layer_types", None):  # which of them see a sliding window alone
        part.config.layer_types = list(part.config.layer_types[start:stop])
    part.config.use_cache = False  # layer indices no longer match a cache
    part.layers = nn.ModuleList(decoder.layers[start:stop])
    if not norm:
        part.norm = nn.Identity()
    return part


def final_logits(model: PreTrainedModel, logits: torch.Tensor) -> torch.Tensor:
    """The logits of a causal model, from what the linear layer of its head gives.

    Some families scale them (Granite, Cohere) or cap them (Gemma 2) after it.
    """
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1 / getattr(config, "logits_scaling", 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    logits = logits * scale if scale != 1 else logits
    return torch.tanh(logits / cap) * cap if cap else logits


def train_upper_layers(model: PreTrainedModel, count: int) -> int:
    """Freeze all but the last ``count`` decoder layers, the final norm and any new head.

    The (tied) embedding stays frozen: it is read by the trunk.

    Returns:
        The number of frozen layers, the trunk's depth.
    """
    decoder = decoder_of(model)
    depth = max(0, len(decoder.layers) - count)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    trained: list[nn.Module] = [*decoder.layers[depth:], decoder.norm]
    if hasattr(model, "score"):
        trained.append(model.score)
    for module in trained:
        for parameter in module.parameters():
            parameter.requires_grad_(True)
    return depth


def length_batches(
    lengths: Sequence[int], batch_size: int, area: int | None = None
) -> Iterator[list[int]]:
    """Indices in batches of similar length, longest first (so that memory runs out at once or never).

    Args:
        area: a batch's rows times its longest length are at most so many, where it is more than a row.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        longest = max(1, lengths[order[start]])
        size = batch_size if area is None else min(batch_size, max(1, area // longest))
        yield order[start : start + size]
        start += size
