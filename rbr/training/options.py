"""Options of the trainings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rbr.options import Options


class LoRAOptions(Options):
    """Low-rank adapters: of ``rank``, scaled by ``alpha`` over it.

    ``target_modules``: last names of the linear layers that get one (q_proj...); all for None.
    """

    rank: int = Field(16, gt=0)
    alpha: float = Field(32.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] | None = None


class RewardModelOptions(Options):
    """Reward models: the first ``layers`` decoder layers, the last ``trained_layers`` of them trained."""

    layers: int = 16
    trained_layers: int = 4
    lora: LoRAOptions | None = Field(
        None, description="adapters on those layers, merged when done; null trains the layers"
    )
    learning_rate: float = 2e-4
    epochs: float = 2.0
    batch_size: int = 16
    micro_batch: int | None = Field(
        None, gt=0, description="rows a device works on at a time; its whole share for null"
    )
    gradient_checkpointing: bool = Field(False, description="compute activations twice, keep few")
    max_pairs: int = 320


class DemonstrationOptions(Options):
    """The base model's own answers that supervised fine-tuning learns from.

    ``samples`` of each prompt to be answered, one after another until ``attempts`` of each to be refused,
    after ``examples``. An answer counts as ideal where the grader gives the best class ``ideal_floor``.
    """

    helpful_prompts: int = 100
    comply_prompts: int = 300
    refuse_prompts: int = 160
    samples: int = Field(2, gt=0)
    attempts: int = Field(2, gt=0)
    examples: int = Field(2, ge=0)
    temperature: float = Field(1.0, gt=0)
    max_new_tokens: int = 128
    whole: bool = Field(
        True, description="of answers that the limit cuts short, whole sentences alone"
    )
    ideal_floor: float = Field(0.5, ge=0, le=1)


class SFTOptions(Options):
    """Supervised fine-tuning of the upper ``trained_layers``, all for None; demos are capped per source."""

    trained_layers: int | None = Field(10, gt=0)
    lora: LoRAOptions | None = Field(
        LoRAOptions(), description="adapters on those layers; null trains the layers themselves"
    )
    learning_rate: float = 1e-4
    epochs: float = 2.0
    batch_size: int = 16
    micro_batch: int | None = Field(
        None, gt=0, description="rows a device works on at a time; its whole share for null"
    )
    gradient_checkpointing: bool = Field(False, description="compute activations twice, keep few")
    helpful_demos: int = 160
    safety_demos: int = 300
    comply_share: float = Field(
        0.8, ge=0, le=1, description="of the safety demos of the variants with rules"
    )
    max_length: int = 160
    temperature: float = Field(
        1.0, gt=0, description="at which the answers were sampled; logits are divided by it"
    )
    answer_tokens: int | None = Field(
        None,
        gt=0,
        description="of the model's own answers to safety prompts, those that are learnt",
    )


class RLOptions(Options):
    """Policy optimisation (PPO terms as in TRL; KL penalty per token as in InstructGPT)."""

    algorithm: Literal["ppo", "grpo", "rloo"] = "ppo"
    steps: int = 8
    prompts_per_step: int = 48
    group_size: int = Field(2, ge=2, description="rollouts of one prompt (TRL asks for two)")
    epochs: int = 2
    mini_batches: int = 2
    micro_batch: int | None = Field(
        None, gt=0, description="rows a device works on at a time; its whole share for null"
    )
    gradient_checkpointing: bool = Field(False, description="compute activations twice, keep few")
    max_new_tokens: int = 64
    max_prompt_tokens: int = 64
    learning_rate: float = 5e-5
    value_learning_rate: float = 1e-3
    trained_layers: int | None = Field(10, gt=0, description="the upper ones; all for null")
    lora: LoRAOptions | None = Field(
        LoRAOptions(), description="adapters on those layers; null trains the layers themselves"
    )
    kl_coefficient: float = 0.05
    fluency_coefficient: float = Field(
        0.0,
        ge=0,
        description="of an answer's mean token log-probability under the SFT model, in its reward",
    )
    clip: float = 0.2
    value_clip: float = 0.2
    value_coefficient: float = 0.1
    gamma: float = 1.0
    gae_lambda: float = 1.0
    temperature: float = 0.7
    missing_eos_penalty: float = 0.5
    max_kl: float = Field(20.0, description="nats from the SFT model at which training stops")
    kl_target: float | None = Field(
        None, description="nats a completion that the KL coefficient is adapted towards"
    )
    safety_share: float = Field(0.75, ge=0, le=1)
    comply_share: float = Field(
        0.5, ge=0, le=1, description="of the safety prompts: those to be answered"
    )
    save_steps: int = Field(4, description="rollouts from one checkpoint to the next")
    sample_steps: int = Field(4, description="rollouts from one table of samples to the next")
    vllm: Literal["colocate", "server"] | None = Field(
        None, description="generate with vLLM (TRL's vllm_mode), else with Transformers"
    )
    vllm_server: str | None = Field(None, description="base URL of a `trl vllm-serve`")
    vllm_memory: float = Field(
        0.3, gt=0, lt=1, description="share of a device's memory that a colocated vLLM takes"
    )
    vllm_sleep: bool = Field(True, description="a colocated vLLM leaves its memory to the updates")
