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
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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
    part.config.use_cache = False  # layer indices no longer match a cache
    part.layers = nn.ModuleList(decoder.layers[start:stop])
    if not norm:
        part.norm = nn.Identity()
    return part


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


def length_batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, longest first (so that memory runs out at once or never)."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


@torch.inference_mode()
def pooled_states(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    layers: Sequence[int],
    max_tokens: int = 512,
) -> torch.Tensor:
    """Hidden states of one padded batch, pooled.

    Args:
        model: a decoder part without its final norm.
        prompts: chat texts up to where the answer begins.
        completions: the answers; an empty one counts as one end-of-text token.
        layers: after how many decoder layers states are pooled, ascending.

    Returns:
        Per layer the mean over the completion's tokens and its last state, then of the last layer the
        mean over the prompt's: float tensor of shape (n, (2 * len(layers) + 1) * hidden).
    """
    rows: list[tuple[list[int], list[int]]] = []
    for prompt, completion in zip(prompts, completions, strict=True):
        head = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        tail = tokenizer(completion, add_special_tokens=False)["input_ids"][: max_tokens // 2]
        rows.append((head[-(max_tokens - len(tail) - 1) :], [*tail, tokenizer.eos_token_id]))
    width = max(len(head) + len(tail) for head, tail in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    part = torch.zeros(len(rows), width, dtype=torch.long)
    for i, (head, tail) in enumerate(rows):
        size = len(head) + len(tail)
        ids[i, :size] = torch.tensor(head + tail)
        mask[i, :size] = 1
        part[i, len(head) : size] = 1
    device = next(model.parameters()).device
    output = model(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        use_cache=False,
        output_hidden_states=True,
    )
    inside = part.unsqueeze(-1)
    before = (mask - part).unsqueeze(-1)
    ends = mask.sum(1) - 1
    pooled = []
    for layer in layers:
        states = output.hidden_states[layer].float().cpu()
        pooled.append((states * inside).sum(1) / inside.sum(1))
        pooled.append(states[torch.arange(len(rows)), ends])
    pooled.append((states * before).sum(1) / before.sum(1).clamp(min=1))
    return torch.cat(pooled, dim=1)
