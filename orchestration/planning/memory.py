"""Bytes that a training takes on each device and on the host, and a grader on its own devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestration.planning.inputs import Target
from pipeline.profile import Settings

# Of activations per token, layer and hidden unit, in 16 bits and without recomputation (Korthikanti et al.
# 2022, "Reducing Activation Recomputation", its equation 1 without attention scores). With gradient
# checkpointing a layer keeps its input alone, and one layer at a time is computed again.
ACTIVATION_BYTES, CHECKPOINT_BYTES = 34, 2
# Adam in mixed precision by autocast: weight, gradient and two moments of a trained parameter in 32 bits.
ADAM_BYTES, FLOAT32 = 16, 4
# Logits in 16 bits, in 32 bits for the softmax, and their gradient.
LOGIT_BYTES = 10
# Rows and tokenizers of a training process on the host, and what torch and its libraries take there.
PROCESS_BYTES = 6e9


@dataclass(frozen=True)
class Batch:
    """What a device works on at a time: rows of ``tokens``, of which ``predicted`` have logits."""

    rows: int
    tokens: int
    predicted: int


def training_memory(settings: Settings, target: Target) -> dict[str, float]:
    """Bytes on one training device, of the larger of supervised fine-tuning and PPO."""
    both = (sft_memory(settings, target), ppo_memory(settings, target))
    return max(both, key=lambda parts: sum(parts.values()))


def sft_memory(settings: Settings, target: Target) -> dict[str, float]:
    """Bytes of supervised fine-tuning on one device."""
    sft, count = settings.sft, target.training_devices
    rows = sft.micro_batch or -(-sft.batch_size // count)
    states = _states(settings, target, sft, reference=False)
    batch = Batch(rows, sft.max_length, sft.max_length)
    return states | _update(target, sft, batch)


def ppo_memory(settings: Settings, target: Target) -> dict[str, float]:
    """Bytes of PPO on one device."""
    rl, count, number_bytes = settings.rl, target.training_devices, target.device.number_bytes
    policy, tokens = target.policy, rl.max_prompt_tokens + rl.max_new_tokens
    rows = rl.micro_batch or -(-rl.prompts_per_step // rl.mini_batches // count)
    rollout = -(-rl.prompts_per_step // count)
    parts = _states(settings, target, rl, reference=True)
    # Each process holds its own, whole.
    scorer = policy.layers(settings.reward_model.layers) + policy.head
    parts["reward model"] = number_bytes * scorer
    parts["grader"] = number_bytes * _own_grader(settings, target)
    if rl.trained_layers or not rl.lora:
        parts["rollout's trunk states"] = FLOAT32 * rollout * tokens * policy.hidden_size
    update = _update(target, rl, Batch(rows, tokens, rl.max_new_tokens))
    if rl.vllm == "colocate":
        generation = {"generation: vLLM's share": rl.vllm_memory * target.device.memory}
    elif rl.vllm == "server":
        generation = {}
    else:
        cache = rollout * tokens * policy.cache_bytes(number_bytes)
        generation = {"generation: key/value cache": float(cache)}
    if rl.vllm == "colocate" and not rl.vllm_sleep:
        return parts | generation | update
    # One after the other: the one leaves the other its memory.
    return parts | max((generation, update), key=lambda phase: sum(phase.values()))


def _states(settings: Settings, target: Target, options: Any, reference: bool) -> dict[str, float]:
    """Weights, gradients and Adam's moments; sharded (FSDP, ZeRO) under a ``launch.config_file`` alone."""
    policy, number_bytes = target.policy, target.device.number_bytes
    shards = target.training_devices if settings.launch.config_file else 1
    layers = options.trained_layers or policy.num_hidden_layers
    if options.lora:
        adapters = policy.adapters(options.lora.rank, options.trained_layers)
        return {
            "weights below the adapters": number_bytes * policy.parameters / shards,
            "adapters, Adam": ADAM_BYTES * adapters / shards,
        }
    trained = policy.layers(layers)
    parts = {
        "trained layers, Adam": ADAM_BYTES * trained / shards,
        "frozen layers": FLOAT32 * (policy.parameters - trained) / shards,
        # Autocast keeps them for a whole pass; FSDP gathers a layer at a time, and the next.
        "trained layers in 16 bits": number_bytes * (2 * policy.layer if shards > 1 else trained),
    }
    if reference:
        parts["reference's upper layers"] = FLOAT32 * trained / shards
    return parts


def _update(target: Target, options: Any, batch: Batch) -> dict[str, float]:
    policy, tokens = target.policy, batch.rows * batch.tokens
    layers = options.trained_layers or policy.num_hidden_layers
    each = tokens * policy.hidden_size
    activations = ACTIVATION_BYTES * layers * each
    if options.gradient_checkpointing:
        activations = (CHECKPOINT_BYTES * layers + ACTIVATION_BYTES) * each
    return {
        "update: activations": float(activations),
        "update: logits": float(LOGIT_BYTES * batch.rows * batch.predicted * policy.vocab_size),
    }


def _own_grader(settings: Settings, target: Target) -> int:
    """Parameters of a grader that PPO's process runs itself."""
    engine, grader = settings.grader.engine, target.grader
    if engine == "head":
        return grader.layers(settings.grader.tuning.layers) + grader.head
    return 0 if engine == "openai" else grader.parameters


def grader_memory(settings: Settings, target: Target) -> dict[str, float]:
    """Bytes on one of the grader's own devices, over which it is sharded evenly (tensor parallel)."""
    number_bytes, count = target.device.number_bytes, target.grader_devices
    sequence = settings.rl.max_prompt_tokens + settings.rl.max_new_tokens
    # A question of at most 512 tokens behind each answer.
    cached = settings.grader.concurrency * (sequence + 512)
    return {
        "weights": number_bytes * target.grader.parameters / count,
        "key/value cache": cached * target.grader.cache_bytes(number_bytes) / count,
    }


def host_memory(settings: Settings, target: Target) -> dict[str, float]:
    """Bytes of the host while a training starts: processes load their weights from mapped files."""
    processes = target.training_devices
    number_bytes = target.device.number_bytes if settings.rl.lora else FLOAT32
    # FSDP loads them in one process, and hands the shards out.
    copies = 1 if settings.launch.config_file else processes
    return {
        "weights while they are loaded": float(copies * number_bytes * target.policy.parameters),
        "training processes": PROCESS_BYTES * processes,
    }
