"""PPO (Schulman et al. 2017) for language models, on TRL's ``GRPOTrainer``.

TRL's trainer generates, calls the reward functions, and computes the clipped surrogate; it takes
per-token advantages of shape (B, T) from subclasses. What is added here is what makes it PPO: a value
function, the KL penalty against the SFT model inside the per-token reward (as in InstructGPT), GAE,
advantage whitening, and the clipped value loss.

Only the upper layers are trained. The frozen trunk below them is the same for the policy, the
reference and the value function, so its states are computed once a rollout and kept for all updates.
"""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from trl import GRPOConfig, GRPOTrainer

from rbr.models.trunk import decoder_of, part_of
from rbr.training.gae import gae, whiten


@dataclass
class PPOConfig(GRPOConfig):
    """PPO's settings beside TRL's. ``beta`` must stay 0: the KL penalty is in the reward."""

    kl_coefficient: float = field(default=0.05, metadata={"help": "KL penalty per token."})
    gamma: float = field(default=1.0, metadata={"help": "Discount."})
    gae_lambda: float = field(default=0.95, metadata={"help": "GAE's lambda."})
    value_clip: float = field(default=0.2, metadata={"help": "Clip range of the value update."})
    value_coefficient: float = field(default=0.1, metadata={"help": "Weight of the value loss."})
    value_learning_rate: float = field(default=1e-3, metadata={"help": "Of the value head."})
    missing_eos_penalty: float = field(
        default=1.0,
        metadata={"help": "Taken from the (normalised) score of unfinished completions."},
    )
    trunk_layers: int = field(default=0, metadata={"help": "Frozen lower layers."})


class ValueHead(nn.Module):
    """V(state) from the frozen trunk's hidden state: (..., hidden) -> (...)."""

    def __init__(self, hidden: int, width: int = 256) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.inner = nn.Linear(hidden, width)
        self.outer = nn.Linear(width, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(self.norm(states)))).squeeze(-1)


class PPOTrainer(GRPOTrainer):
    """PPO with a value head on a frozen trunk.

    Args:
        model: the SFT model, its lower ``args.trunk_layers`` layers and embedding frozen. A value
            head is attached to it as ``value_head``.
        args: a ``PPOConfig``.
        reward_funcs and the rest: as ``GRPOTrainer`` takes them.
    """

    _tag_names = ("trl", "ppo")
    _name = "PPO"

    def __init__(self, model: Any, reward_funcs: Any, args: PPOConfig, **rest: Any) -> None:
        if args.beta:
            raise ValueError("beta must be 0: PPO's KL penalty is kl_coefficient, in the reward")
        decoder = decoder_of(model)
        model.value_head = ValueHead(model.config.hidden_size)
        depth = len(decoder.layers)
        super().__init__(model=model, reward_funcs=reward_funcs, args=args, **rest)
        self._trunk = part_of(decoder, 0, args.trunk_layers, norm=False)
        self._upper = part_of(decoder, args.trunk_layers, depth, norm=True)
        self._reference = copy.deepcopy(self._upper).requires_grad_(False).eval()
        self._reference.embed_tokens = None  # never called: it is given the trunk's states
        self._head = model.get_output_embeddings()
        self._value = model.value_head
        # Deviation of the first rollouts' centred scores; all later ones are divided by it.
        self.score_scale: float | None = None
        self._scores = torch.zeros(0)
        self._states: torch.Tensor | None = None

    # -- one decoder, run in parts -------------------------------------------------------------

    def _logps(
        self, upper: nn.Module, states: torch.Tensor, attention: torch.Tensor, ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of ``ids`` (B, T), the last T tokens, and the entropy before each."""
        length = ids.size(1)
        hidden = upper(inputs_embeds=states, attention_mask=attention).last_hidden_state
        logits = self._head(hidden[:, -length - 1 : -1]).float() / self.temperature
        logps = logits.log_softmax(-1)
        with torch.no_grad():
            entropy = -(logps.exp() * logps).sum(-1)
        return logps.gather(-1, ids.unsqueeze(-1)).squeeze(-1), entropy

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """TRL asks for these three; here from the kept trunk states where there are some."""
        if self._states is None:
            with torch.no_grad():
                self._states = self._trunk(
                    input_ids=input_ids, attention_mask=attention_mask
                ).last_hidden_state
        logps, entropy = self._logps(
            self._upper, self._states, attention_mask, input_ids[:, -logits_to_keep:]
        )
        return logps, entropy, None

    # -- rollouts --------------------------------------------------------------------------------

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(*args, **kwargs)
        if torch.isnan(rewards).any():
            row = int(torch.isnan(rewards).any(dim=1).nonzero()[0])
            raise ValueError(
                f"the reward of rollout {row} is not a number: a score is never made up"
            )
        self._scores = (rewards * self.reward_weights.to(rewards.device)).sum(dim=1)
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """TRL's rollout, then token rewards, values, advantages and returns, all of shape (B, T)."""
        self._states = None
        output = super()._generate_and_score_completions(inputs)
        mask = output["completion_mask"]
        ids = output["completion_ids"]
        attention = torch.cat([output["prompt_mask"], mask], dim=1)
        with torch.no_grad():
            if "old_per_token_logps" not in output:
                output["old_per_token_logps"] = self._get_per_token_logps_and_entropies(
                    self.model,
                    torch.cat([output["prompt_ids"], ids], dim=1),
                    attention,
                    ids.size(1),
                )[0]
            assert self._states is not None
            states = self._states
            reference, _ = self._logps(self._reference, states, attention, ids)
            values = self._value(states[:, -ids.size(1) - 1 : -1])
        size = len(ids)
        first = self.accelerator.process_index * size
        scores = self._normalised(self._scores)[first : first + size]
        finished = (
            torch.isin(ids, torch.tensor(self.eos_token_ids, device=ids.device)) & (mask > 0)
        ).any(1)
        scores = scores - self.args.missing_eos_penalty * (~finished).float()
        log_ratio = (output["old_per_token_logps"] - reference) * mask
        rewards = -self.args.kl_coefficient * log_ratio
        last = mask.sum(1).clamp(min=1) - 1
        rewards[torch.arange(size), last] += scores
        advantages, returns = gae(rewards, values, mask, self.args.gamma, self.args.gae_lambda)
        output["advantages"] = whiten(advantages, mask)
        output["returns"] = returns
        output["old_values"] = values
        output["states"] = states
        self._log_rollout(ids, log_ratio, returns, values, mask, finished)
        self._states = None
        return output

    def _normalised(self, scores: torch.Tensor) -> torch.Tensor:
        centred = centre_by_prompt(scores, self.num_generations)
        if self.score_scale is None:
            deviation = float(centred.std()) if len(centred) > 1 else 1.0
            self.score_scale = max(deviation, 1e-3)
        return centred / self.score_scale

    def _log_rollout(
        self,
        ids: torch.Tensor,
        log_ratio: torch.Tensor,
        returns: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor,
        finished: torch.Tensor,
    ) -> None:
        log = self._metrics["train" if self.model.training else "eval"]
        real = mask > 0
        spread = returns[real].var()
        explained = 1 - (returns - values)[real].var() / spread if spread > 0 else torch.tensor(0.0)
        # Mean over completions of the summed log ratio: an estimate of KL(policy | SFT) in nats.
        log["kl"].append(self.accelerator.gather(log_ratio.sum(1)).mean().item())
        log["value/explained_variance"].append(float(explained))
        log["value/mean"].append(float(values[real].mean()))
        log["completions/finished"].append(float(finished.float().mean()))
        log["completions/distinct"].append(distinct_bigrams(ids, mask))

    # -- updates ---------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """The clipped surrogate (TRL's) plus the clipped value loss."""
        self._states = inputs["states"]
        policy_loss = super()._compute_loss(model, inputs)
        self._states = None
        mask = inputs["completion_mask"].float()
        length = mask.size(1)
        values = self._value(inputs["states"][:, -length - 1 : -1])
        value_loss = clipped_value_loss(
            values, inputs["old_values"], inputs["returns"], mask, self.args.value_clip
        )
        mode = "train" if self.model.training else "eval"
        self._metrics[mode]["value/loss"].append(value_loss.item())
        scale = self.current_gradient_accumulation_steps if mode == "train" else 1
        return policy_loss + self.args.value_coefficient * value_loss / scale

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW with an own rate for the value head."""
        if getattr(self, "optimizer", None) is None:
            head = {id(p) for p in self._value.parameters()}
            policy = [p for p in self.model.parameters() if p.requires_grad and id(p) not in head]
            self.optimizer = torch.optim.AdamW(
                [
                    {"params": policy, "lr": self.args.learning_rate},
                    {"params": list(self._value.parameters()), "lr": self.args.value_learning_rate},
                ],
                betas=(self.args.adam_beta1, self.args.adam_beta2),
                eps=self.args.adam_epsilon,
                weight_decay=self.args.weight_decay,
            )
        return self.optimizer

    # -- checkpoints -----------------------------------------------------------------------------

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        (folder / "ppo_state.json").write_text(
            json.dumps({"score_scale": self.score_scale, "step": self._step})
        )

    def _load_from_checkpoint(self, checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(checkpoint, model)
        kept = json.loads((Path(checkpoint) / "ppo_state.json").read_text())
        self.score_scale = float(kept["score_scale"])
        self._step = int(kept["step"])


def centre_by_prompt(scores: torch.Tensor, group: int) -> torch.Tensor:
    """Scores less the mean of their prompt's ``group`` completions (side by side); shape (n,).

    Rewards are fitted on pairs within a prompt, so their level from prompt to prompt means nothing: a
    prompt's constant leaves the optimum where it is. Left in, a high level on the prompts to refuse
    and a low one on those to answer would by themselves teach to refuse. One completion a prompt has
    nothing to be compared with: those are centred over the batch.
    """
    if group < 2:
        return scores - scores.mean()
    return (scores.view(-1, group) - scores.view(-1, group).mean(1, keepdim=True)).view(-1)


def clipped_value_loss(
    values: torch.Tensor,
    old_values: torch.Tensor,
    returns: torch.Tensor,
    mask: torch.Tensor,
    clip: float,
) -> torch.Tensor:
    """Half the larger of the squared errors of the value and of its clipped update, token mean."""
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    error = torch.maximum((values - returns).square(), (clipped - returns).square())
    return 0.5 * (error * mask).sum() / mask.sum().clamp(min=1)


def distinct_bigrams(ids: torch.Tensor, mask: torch.Tensor) -> float:
    """Mean over completions of distinct / all token pairs: 1 without repetition, near 0 in a loop."""
    shares = []
    for row, real in zip(ids.tolist(), mask.tolist(), strict=True):
        tokens = [token for token, keep in zip(row, real, strict=True) if keep]
        pairs = list(itertools.pairwise(tokens))
        shares.append(len(set(pairs)) / len(pairs) if pairs else 1.0)
    return sum(shares) / len(shares)
