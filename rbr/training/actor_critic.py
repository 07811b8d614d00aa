"""A causal model as actor and critic: frozen trunk, trained upper layers, value head, reference.

Where only upper layers, or adapters on them, are trained, the frozen trunk below is the same for the
policy, the reference and the value function, so its states are computed once a rollout and kept for all
updates. With no frozen layer the trunk is the (frozen) embedding, and all else is as in any PPO. A model
that is not split is run whole each time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from torch import nn
from trl.trainer.utils import selective_log_softmax, selective_log_softmax_and_entropy

from rbr.models.trunk import decoder_of, final_logits, part_of
from rbr.training.adapters import adapter_off, causal_model

if TYPE_CHECKING:
    from pathlib import Path

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
class TokenEvaluation:
    """What actor, critic and reference say of T completion tokens; (B, T) unless said otherwise.

    Attributes:
        states: output of the trunk for the whole sequence, (B, length, hidden); without a trunk nothing,
            (B, 0).
        logps: log-probability of each token at the sampling temperature, 0 on padding.
        entropy: of the distribution that each token is drawn from, in nats, 0 on padding; without
            gradient, and computed in updates alone.
        values: V of the state before each token.
        reference_logps: as ``logps``, of the initial policy; None in updates.
    """

    states: torch.Tensor
    logps: torch.Tensor
    entropy: torch.Tensor
    values: torch.Tensor
    reference_logps: torch.Tensor | None = None

    @classmethod
    def concatenate(cls, batches: Sequence[TokenEvaluation]) -> TokenEvaluation:
        """The evaluations of several batches of a rollout as one."""
        fields = zip(*(vars(batch).values() for batch in batches), strict=True)
        return cls(*(torch.cat(tensors) for tensors in fields))


class ActorCritic(nn.Module):
    """A policy with a value head and a reference: the policy with its adapter off, or else a frozen copy.

    One ``forward`` serves rollouts and updates, so that what wraps the module (DDP, FSDP, autocast)
    sees every call. Attributes that it lacks (``config``, ``generate``...) are the policy's.

    Args:
        policy: a causal model whose embedding and lower ``trunk_layers`` layers are frozen; with an
            adapter a ``PeftModel``.
        trunk_layers: None to run the model whole, which takes an adapter.
        temperature: the sampling temperature of the rollouts.
    """

    def __init__(self, policy: Any, trunk_layers: int | None, temperature: float) -> None:
        super().__init__()
        self.policy = policy
        self.trunk_layers = trunk_layers
        self.temperature = temperature
        self.reference: nn.Module | None = None
        if not isinstance(policy, PeftModel):
            upper = self._upper()
            upper.embed_tokens = None  # the reference's input is the trunk's states
            self.reference = copy.deepcopy(upper).requires_grad_(False).eval()
        self.value_head = ValueHead(policy.config.hidden_size)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        length: int,
        states: torch.Tensor | None = None,
    ) -> TokenEvaluation:
        """Evaluate the last ``length`` tokens of each sequence.

        Args:
            input_ids, attention_mask: (B, sequence), padded on the left and on the right.
            states: those of an earlier evaluation of the same tokens. Without them the tokens are a
                new rollout's: the trunk computes the states, and the reference is evaluated too.
        """
        new = states is None
        if states is None:
            states = self._trunk_states(input_ids, attention_mask)
        ids, mask = input_ids[:, -length:], attention_mask[:, -length:].bool()
        hidden, logits = self._run(self._upper, states, input_ids, attention_mask, mask)
        logps, entropy = self._logps_and_entropy(logits, ids, mask)
        # Without a frozen trunk the critic reads the policy's last states, and leaves them alone.
        before = slice(-length - 1, -1)  # the states from which the tokens are predicted
        values = self.value_head(states[:, before] if self.trunk_layers else hidden.detach())
        reference_logps = None
        if new:
            with torch.no_grad(), self._as_reference() as reference:
                _, logits = self._run(reference, states, input_ids, attention_mask, mask)
                reference_logps, _ = self._logps_and_entropy(logits, ids, mask)
        return TokenEvaluation(states, logps, entropy, values, reference_logps)

    @torch.no_grad()
    def _trunk_states(self, ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        if self.trunk_layers is None:
            return ids.new_empty(len(ids), 0)
        decoder = decoder_of(causal_model(self.policy))
        trunk = part_of(decoder, 0, self.trunk_layers, norm=False)
        output = trunk(input_ids=ids, attention_mask=attention_mask)
        return output.last_hidden_state  # type: ignore[no-any-return]

    def _run(
        self,
        upper: Callable[[], Any],
        states: torch.Tensor,
        ids: torch.Tensor,
        attention_mask: torch.Tensor,
        mask: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The last states before each token, (B, T, hidden), and the logits of the real ones, (N, vocabulary).

        Args:
            upper: makes the layers above the trunk.
            mask: of the T tokens.
        """
        model, before = causal_model(self.policy), slice(-mask.size(1) - 1, -1)
        if self.trunk_layers is None:
            output = model(
                input_ids=ids,
                attention_mask=attention_mask,
                # Positions are learnt in some architectures, and the left padding has none.
                position_ids=(attention_mask.cumsum(-1) - 1).clamp(min=0),
                output_hidden_states=True,
                logits_to_keep=mask.size(1) + 1,
            )
            return output.hidden_states[-1][:, before], output.logits[:, :-1][mask]
        output = upper()(inputs_embeds=states, attention_mask=attention_mask)
        hidden = output.last_hidden_state[:, before]
        # Of real tokens alone: over a large vocabulary the logits cost as much as all layers.
        return hidden, final_logits(model, model.get_output_embeddings()(hidden[mask]))

    @contextmanager
    def _as_reference(self) -> Iterator[Callable[[], Any]]:
        """What makes the reference's upper layers, while the policy is the reference."""
        if self.reference is not None:
            yield lambda: self.reference
            return
        with adapter_off(self.policy):
            yield self._upper

    def _logps_and_entropy(
        self, logits: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both per token, (B, T), of the logits of the real ones."""
        logits = logits / self.temperature
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if torch.is_grad_enabled():
            logps, entropy = selective_log_softmax_and_entropy(logits, ids[mask], False)
        else:
            logps = selective_log_softmax(logits, ids[mask])
            entropy = torch.zeros_like(logps)
        logps, entropy = (v.new_zeros(ids.shape).masked_scatter(mask, v) for v in (logps, entropy))
        return logps, entropy

    def _upper(self) -> PreTrainedModel:
        # A view of the policy's own layers, made at each use: a wrapper such as FSDP may replace layers.
        decoder = decoder_of(causal_model(self.policy))
        return part_of(decoder, self.trunk_layers or 0, len(decoder.layers), norm=True)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "policy":
                raise
            return getattr(self.policy, name)

    def train(self, mode: bool = True) -> ActorCritic:
        """Set the mode of all but the reference, which is never trained."""
        super().train(mode)
        if self.reference is not None:
            self.reference.eval()
        return self

    @property
    def _keys_to_ignore_on_save(self) -> list[str]:
        """Weights that checkpoints leave out: the frozen ones are those that a training starts from."""
        trained = {name for name, p in self.named_parameters() if p.requires_grad}
        return [name for name in self.state_dict() if name not in trained]

    def save_pretrained(self, folder: Path, state_dict: dict[str, torch.Tensor]) -> None:
        """Write the policy alone, as any model of Transformers; of one with an adapter the adapter.

        Args:
            state_dict: of this module.
        """
        prefix = "policy."
        self.policy.save_pretrained(
            folder,
            state_dict={
                name.removeprefix(prefix): value
                for name, value in state_dict.items()
                if name.startswith(prefix)
            },
        )
