"""TRL's trainers with this project's decoding in place of ``generate``."""

from __future__ import annotations

from typing import Any

import torch
from trl import GRPOTrainer, RLOOTrainer
from trl.models.utils import unwrap_model_for_generation

from rbr.models.decode import Sampler, decode
from rbr.training.adapters import causal_model


class Rollouts:
    """Of a trainer: sampled continuations of a batch of prompts."""

    def _sampled(self: Any, prompt_ids: list[list[int]]) -> list[list[int]]:
        """A continuation of each prompt; equal prompts are read once.

        The rows' seeds are drawn from PyTorch's generator, which checkpoints keep.
        """
        seeds = torch.randint(2**62, (len(prompt_ids),)).tolist()
        with (
            unwrap_model_for_generation(
                self.model_wrapped,
                self.accelerator,
                gather_deepspeed3_params=self.args.ds3_gather_for_generation,
            ) as model,
            self._dist.summon_full_params(self.model_wrapped, recurse=False),
            self.accelerator.autocast(),
        ):
            policy = causal_model(getattr(model, "policy", model))
            training = policy.training
            policy.eval()
            decoded = decode(
                policy,
                prompt_ids,
                self.max_completion_length,
                self.eos_token_ids,
                self._tokenizer.pad_token_id,
                Sampler(seeds, self.args.temperature),
            )
            policy.train(training)
        return [row.ids for row in decoded]


class OwnGRPOTrainer(Rollouts, GRPOTrainer):
    """GRPO."""

    def _generate_single_turn(self, prompt_ids: Any, *rest: Any, **more: Any) -> Any:
        if self.use_vllm:
            return super()._generate_single_turn(prompt_ids, *rest, **more)
        return self._sampled(prompt_ids), None


class OwnRLOOTrainer(Rollouts, RLOOTrainer):
    """RLOO."""

    def _generate_single_turn(self, prompt_ids: Any, *rest: Any, **more: Any) -> Any:
        if self.use_vllm:
            return super()._generate_single_turn(prompt_ids, *rest, **more)
        return self._sampled(prompt_ids)
