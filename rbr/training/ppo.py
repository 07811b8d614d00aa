"""PPO (Schulman et al. 2017) for language models, on TRL's ``GRPOTrainer``.

TRL's trainer generates, calls the reward functions, and computes the clipped surrogate; it takes
per-token advantages of shape (B, T) from subclasses. What is added here is what makes it PPO: a value
function, the KL penalty against the SFT model inside the per-token reward (as in InstructGPT), GAE,
advantage whitening, and the clipped value loss.

From top to bottom: how a rollout is scored (``_generate_and_score_completions``), an update
(``_compute_loss``), what a checkpoint holds, and the small functions that these call.
"""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig

from rbr.training.actor_critic import ActorCritic, TokenEvaluation
from rbr.training.gae import gae, moments, whiten
from rbr.training.options import RLOptions
from rbr.training.rollouts import OwnGRPOTrainer


class PPOTrainer(OwnGRPOTrainer):
    """PPO with a value head.

    Args:
        model: the SFT model, as ``train_part`` gives it: its lower ``trunk_layers`` layers and embedding
            are frozen. The trainer's ``model`` is an ``ActorCritic`` of it.
        args: TRL's arguments. ``loss_type`` becomes ``dapo``: token means over the whole batch, so
            that the loss does not depend on how the batch is split over processes. ``scale_rewards``
            becomes ``none``. ``beta`` must be 0: the KL penalty is in the reward.
        options: PPO's settings beside TRL's: coefficients and clip ranges of penalty, value and GAE.
        reward_funcs and the rest: as ``GRPOTrainer`` takes them.

    Raises:
        ValueError: for a ``beta``, or a ``peft_config``: ``train_part`` makes the adapter.
    """

    _tag_names = ("trl", "ppo")
    _name = "PPO"

    def __init__(
        self,
        model: Any,
        reward_funcs: Any,
        args: GRPOConfig,
        options: RLOptions,
        trunk_layers: int | None = 0,
        **rest: Any,
    ) -> None:
        if args.beta:
            raise ValueError("beta must be 0: PPO's KL penalty is kl_coefficient, in the reward")
        if rest.get("peft_config") is not None:
            raise ValueError("give a model with its adapter (train_part), and no peft_config")
        args.loss_type, args.scale_rewards = "dapo", "none"
        actor_critic = ActorCritic(model, trunk_layers, args.temperature)
        super().__init__(model=actor_critic, reward_funcs=reward_funcs, args=args, **rest)
        if self.use_vllm:
            self.vllm_generation.model = model  # vLLM knows the policy's parameters alone
        self.options = options
        self.kl_coefficient = options.kl_coefficient
        # Deviation of the first rollouts' centred scores; all later ones are divided by it.
        self.score_scale: float | None = None
        self._rollout: TokenEvaluation | None = None  # of the rollout that is being scored
        self._clock = time.monotonic()
        self._tokens = 0.0

    # -- rollouts --------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """TRL's rollout, then token rewards, values, advantages and returns, all of shape (B, T).

        TRL's advantages are the scores less the mean of their prompt's completions, (B,). Rewards are
        fitted on pairs within a prompt, so their level from prompt to prompt means nothing: a prompt's
        constant leaves the optimum where it is. Left in, a high level on the prompts to refuse and a
        low one on those to answer would by themselves teach to refuse.
        """
        output = super()._generate_and_score_completions(inputs)
        ids, mask = output["completion_ids"], output["completion_mask"]
        old = self._rollout or self._evaluate(*_sequences(output))
        self._rollout = None
        ends = torch.tensor(self.eos_token_ids, device=ids.device)
        finished = (torch.isin(ids, ends) & (mask > 0)).any(1)
        scores = self._normalised(output["advantages"])
        scores = scores - self.options.missing_eos_penalty * (~finished).float()
        # Nonsense that the reward takes for an answer is unlikely to the model that it started from.
        lengths = mask.sum(1).clamp(min=1)
        likelihood = (old.reference_logps * mask).sum(1) / lengths
        scores = scores + self.options.fluency_coefficient * likelihood
        log_ratio = (old.logps - old.reference_logps) * mask
        rewards = -self.kl_coefficient * log_ratio
        rewards[torch.arange(len(ids), device=ids.device), lengths - 1] += scores
        advantages, returns = gae(
            rewards, old.values, mask, self.options.gamma, self.options.gae_lambda
        )
        output["advantages"] = whiten(advantages, mask, self.accelerator.reduce)
        output["returns"] = returns
        output["old_values"] = old.values
        output["old_per_token_logps"] = old.logps
        output["states"] = old.states
        # Mean over completions of the summed log ratio: an estimate of KL(policy | SFT) in nats.
        kls = self.accelerator.gather(log_ratio.sum(1))
        self._logs["extra"]["kl"].extend(kls.tolist())
        kl = kls.mean().item()
        self._log_rollout(output, kl, finished, likelihood)
        self._steer(kl, len(ids) * self.accelerator.num_processes)
        return output

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(*args, **kwargs)
        if not torch.isfinite(rewards).all():
            row = int((~torch.isfinite(rewards)).any(dim=1).nonzero()[0])
            raise ValueError(f"the reward of completion {row} is not a number")
        return rewards

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """What TRL reads: of the policy in a rollout, of ``_compute_loss``'s evaluation in an update."""
        if not isinstance(model, TokenEvaluation):
            model = self._rollout = self._evaluate(input_ids, attention_mask, logits_to_keep)
        return model.logps, model.entropy, None

    @torch.no_grad()
    def _evaluate(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, length: int
    ) -> TokenEvaluation:
        """Evaluate a rollout, a mini-batch at a time."""
        size = self.args.per_device_train_batch_size
        batches = zip(input_ids.split(size), attention_mask.split(size), strict=True)
        return TokenEvaluation.concatenate([self.model(*batch, length) for batch in batches])

    def _normalised(self, centred: torch.Tensor) -> torch.Tensor:
        """Scores over the deviation of the first rollout's, of all processes."""
        if self.score_scale is None:
            deviation = float(self.accelerator.gather(centred).std())
            if deviation > 1e-6:  # all alike say nothing of the scale
                self.score_scale = deviation
        return centred / (self.score_scale or 1.0)

    def _steer(self, kl: float, completions: int) -> None:
        """Adapt the KL coefficient (Ziegler et al. 2019), or stop at ``max_kl``."""
        if self.options.kl_target is not None:
            self.kl_coefficient = adapted_kl_coefficient(
                self.kl_coefficient, kl, self.options.kl_target, completions
            )
        if kl > self.options.max_kl:
            self.control.should_training_stop = True

    def _log_rollout(
        self,
        output: dict[str, Any],
        kl: float,
        finished: torch.Tensor,
        likelihood: torch.Tensor,
    ) -> None:
        log = self._metrics["train" if self.model.training else "eval"]
        mask, values, returns = output["completion_mask"], output["old_values"], output["returns"]
        _, spread = self._moments(returns, mask)
        _, missed = self._moments(returns - values, mask)
        distinct = distinct_bigrams(output["completion_ids"], mask).to(values.device)
        log["kl"].append(kl)
        log["kl_coefficient"].append(self.kl_coefficient)
        log["value/explained_variance"].append(1 - missed / spread if spread > 0 else 0.0)
        log["value/mean"].append(self._moments(values, mask)[0])
        log["completions/likelihood"].append(self._moments(likelihood)[0])
        log["completions/finished"].append(self._moments(finished.float())[0])
        log["completions/distinct"].append(self._moments(distinct)[0])

    def _moments(
        self, values: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[float, float]:
        """Mean and variance over the real tokens (or all) of all processes."""
        mask = torch.ones_like(values) if mask is None else mask
        mean, variance = moments(values, mask, self.accelerator.reduce)
        return float(mean), float(variance)

    # -- updates ---------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """The clipped surrogate (TRL's) plus the clipped value loss."""
        new = model(*_sequences(inputs), states=inputs["states"])
        policy_loss = super()._compute_loss(new, inputs)
        errors = clipped_value_errors(
            new.values, inputs["old_values"], inputs["returns"], self.options.value_clip
        )
        value_loss = (errors * inputs["completion_mask"]).sum() / self._token_share(inputs)
        mode = "train" if self.model.training else "eval"
        mean = self.accelerator.reduce(value_loss.detach(), reduction="mean")
        self._metrics[mode]["value/loss"].append(float(mean))
        return policy_loss + self.options.value_coefficient * value_loss

    def _token_share(self, inputs: dict[str, Any]) -> torch.Tensor:
        """Tokens that a process's share of an update stands for: ``dapo``'s denominator."""
        tokens = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        if not self.model.training:
            return tokens
        return tokens * self.current_gradient_accumulation_steps / self.args.steps_per_generation

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW, with a learning rate for the value head alone."""
        if getattr(self, "optimizer", None) is None:
            named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
            head = [p for n, p in named if "value_head" in n]
            policy = [p for n, p in named if "value_head" not in n]
            self.optimizer = torch.optim.AdamW(
                [
                    {"params": policy, "lr": self.args.learning_rate},
                    {"params": head, "lr": self.options.value_learning_rate},
                ],
                betas=(self.args.adam_beta1, self.args.adam_beta2),
                eps=self.args.adam_epsilon,
                weight_decay=self.args.weight_decay,
            )
        return self.optimizer

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's log, with the speed since the last one: rollout, reward and updates together."""
        now, tokens = time.monotonic(), float(self.state.num_input_tokens_seen)
        if tokens > self._tokens:
            logs["tokens_per_second"] = (tokens - self._tokens) / (now - self._clock)
        self._clock, self._tokens = now, tokens
        super().log(logs, start_time)

    # -- checkpoints -----------------------------------------------------------------------------

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        """TRL's, of the trained parameters alone."""
        state = self.model.state_dict() if state_dict is None else state_dict
        frozen = set(self.model._keys_to_ignore_on_save)
        super()._save(output_dir, {name: v for name, v in state.items() if name not in frozen})

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # Before the trainer's state, by which a checkpoint counts as complete.
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "ppo_state.json").write_text(
                json.dumps(
                    {
                        "score_scale": self.score_scale,
                        "kl_coefficient": self.kl_coefficient,
                        "step": self._step,
                    }
                )
            )
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(checkpoint, model)
        kept = json.loads((Path(checkpoint) / "ppo_state.json").read_text())
        self.score_scale = kept["score_scale"]
        self.kl_coefficient = float(kept["kl_coefficient"])
        self._step = int(kept["step"])


def _sequences(output: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Tokens and attention mask of prompts and completions, (B, length), and the completions' length."""
    return (
        torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1),
        torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1),
        output["completion_ids"].size(1),
    )


def clipped_value_errors(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, clip: float
) -> torch.Tensor:
    """Half the larger of the squared errors of the value and of its clipped update, (B, T)."""
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns).square(), (clipped - returns).square())


def adapted_kl_coefficient(coefficient: float, kl: float, target: float, completions: int) -> float:
    """The KL coefficient after ``completions`` of mean divergence ``kl`` (Ziegler et al. 2019, 2.2).

    Their horizon of 10,000 episodes; the error is clipped to 20 % either way.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + error * completions / 10_000)


def distinct_bigrams(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Distinct / all token pairs of each completion: 1 without repetition, near 0 in a loop."""
    shares = []
    for row, real in zip(ids.tolist(), mask.tolist(), strict=True):
        tokens = [token for token, keep in zip(row, real, strict=True) if keep]
        pairs = list(itertools.pairwise(tokens))
        shares.append(len(set(pairs)) / len(pairs) if pairs else 1.0)
    return torch.tensor(shares)
