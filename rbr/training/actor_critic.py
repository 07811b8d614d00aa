"""A causal model as actor and critic: frozen trunk, trained upper layers, value head, reference.

Only the upper layers are trained. The frozen trunk below them is the same for the policy, the
reference and the value function, so its states are computed once a rollout and kept for all updates.
With no frozen layer the trunk is the (frozen) embedding, and all else is as in any PPO.

The parts are reached through the model's own ``forward``, so that what wraps it (DDP, FSDP, autocast)
sees every call and synchronises gradients.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from trl.trainer.utils import selective_log_softmax, selective_log_softmax_and_entropy

from rbr.models.trunk import decoder_of, part_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ValueHead(nn.Module):
    """V(state) from a hidden state: (..., hidden) -> (...)."""

    def __init__(self, hidden: int, width: int = 256) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.inner = nn.Linear(hidden, width)
        self.outer = nn.Linear(width, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(self.norm(states)))).squeeze(-1)


@dataclass(frozen=True)
class Judged:
    """What actor and critic say of T completion tokens; each tensor has shape (B, T), 0 on padding.

    Attributes:
        logps: log-probability of each token at the sampling temperature.
        entropy: of the distribution that each token was drawn from, in nats; no gradient.
        values: V of the state before each token.
    """

    logps: torch.Tensor
    entropy: torch.Tensor
    values: torch.Tensor


class ActorCritic:
    """Attaches a value head to a model and lets its ``forward`` run in parts.

    Args:
        model: a causal model whose embedding and lower ``trunk_layers`` layers are frozen. It gets
            ``value_head`` and an extended ``forward``.
        temperature: the rollouts' sampling temperature.
    """

    def __init__(self, model: PreTrainedModel, trunk_layers: int, temperature: float) -> None:
        decoder = decoder_of(model)
        self.temperature = temperature
        self._shared = trunk_layers > 0
        self._trunk = part_of(decoder, 0, trunk_layers, norm=False)
        self._upper = part_of(decoder, trunk_layers, len(decoder.layers), norm=True)
        self._reference = copy.deepcopy(self._upper).requires_grad_(False).eval()
        self._reference.embed_tokens = None  # never called: it is given the trunk's states
        self._head = model.get_output_embeddings()
        model.value_head = ValueHead(model.config.hidden_size)
        self._value = model.value_head
        self._extend(model)

    def _extend(self, model: Any) -> None:
        plain = model.forward

        @functools.wraps(type(model).forward)  # ``generate`` reads the signature
        def forward(*args: Any, part: str | None = None, **inputs: Any) -> Any:
            if part is None:
                return plain(*args, **inputs)
            return getattr(self, f"_{part}_part")(**inputs)

        model.forward = forward

    def _trunk_part(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            output = self._trunk(input_ids=input_ids, attention_mask=attention_mask)
        return output.last_hidden_state  # type: ignore[no-any-return]

    def _policy_part(
        self, states: torch.Tensor, attention_mask: torch.Tensor, ids: torch.Tensor
    ) -> Judged:
        hidden = self._before(self._upper, states, attention_mask, ids.size(1))
        logps, entropy = self._logps(hidden, ids, attention_mask)
        # Without a frozen trunk the critic reads the policy's own last states, and leaves them alone.
        seen = states[:, -ids.size(1) - 1 : -1] if self._shared else hidden.detach()
        return Judged(logps, entropy, self._value(seen))

    def _reference_part(
        self, states: torch.Tensor, attention_mask: torch.Tensor, ids: torch.Tensor
    ) -> torch.Tensor:
        self._reference.to(states.device)
        hidden = self._before(self._reference, states, attention_mask, ids.size(1))
        return self._logps(hidden, ids, attention_mask)[0]

    @staticmethod
    def _before(
        upper: nn.Module, states: torch.Tensor, attention_mask: torch.Tensor, length: int
    ) -> torch.Tensor:
        """Last hidden states before each of the last ``length`` tokens."""
        output = upper(inputs_embeds=states, attention_mask=attention_mask)
        return output.last_hidden_state[:, -length - 1 : -1]  # type: ignore[no-any-return]

    def _logps(
        self, hidden: torch.Tensor, ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # Of real tokens alone: over a large vocabulary the logits cost as much as all layers.
        real = attention_mask[:, -ids.size(1) :].bool()
        logits = self._head(hidden[real]) / self.temperature
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if torch.is_grad_enabled():
            found = selective_log_softmax_and_entropy(logits, ids[real], False)
        else:  # a rollout's entropy is read by nothing
            logps = selective_log_softmax(logits, ids[real])
            found = logps, torch.zeros_like(logps)
        logps, entropy = (v.new_zeros(ids.shape).masked_scatter(real, v) for v in found)
        return logps, entropy


def trunk_states(
    model: nn.Module, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    """States after the trunk, (B, length, hidden); ``model`` may be wrapped."""
    return model(part="trunk", input_ids=input_ids, attention_mask=attention_mask)  # type: ignore[no-any-return]


def judge_tokens(
    model: nn.Module, states: torch.Tensor, attention_mask: torch.Tensor, ids: torch.Tensor
) -> Judged:
    """The policy's and the critic's view of ``ids`` (B, T), the last T tokens."""
    return model(part="policy", states=states, attention_mask=attention_mask, ids=ids)  # type: ignore[no-any-return]


def reference_logps(
    model: nn.Module, states: torch.Tensor, attention_mask: torch.Tensor, ids: torch.Tensor
) -> torch.Tensor:
    """Log-probabilities of ``ids`` under the model as it was when the critic was attached, (B, T)."""
    return model(part="reference", states=states, attention_mask=attention_mask, ids=ids)  # type: ignore[no-any-return]
