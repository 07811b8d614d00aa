"""Memory of a plan, against what the trainings hold."""

from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from orchestration.planning.inputs import Shape, Target, read_plan_file
from orchestration.planning.memory import (
    ADAM_BYTES,
    host_memory,
    training_memory,
)
from pipeline.profile import read_settings
from rbr.models.trunk import train_upper_layers
from rbr.training.actor_critic import ActorCritic

ROOT = Path(__file__).parents[3]
GPU1 = read_plan_file(ROOT / "deploy" / "plans" / "gpu1.yaml", Target)
ONE = read_settings(ROOT, "gpu1")[1]
EIGHT = read_settings(ROOT, "gpu8")[1]
H100 = read_plan_file(ROOT / "deploy" / "plans" / "h100.yaml", Target)
LLAMA = LlamaConfig(
    hidden_size=128, intermediate_size=352, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=2, vocab_size=512, tie_word_embeddings=True,
)  # fmt: skip


def changed(settings, **sections):
    return settings.model_copy(
        update={
            name: getattr(settings, name).model_copy(update=values)
            for name, values in sections.items()
        }
    )


def small(settings, **rl):
    """A plan of a small Llama's PPO without adapters, its fine-tuning smaller still."""
    shape = Shape.model_validate(LLAMA.to_dict())
    target = GPU1.model_copy(update={"policy": shape, "grader": shape})
    settings = changed(
        settings, rl={"lora": None, "trained_layers": 2, **rl}, sft={"max_length": 1, "lora": None}
    )
    return training_memory(settings, target)


def test_weights_and_reference_are_what_ppo_holds():
    model = LlamaForCausalLM(LLAMA)
    actor = ActorCritic(model, train_upper_layers(model, 2), temperature=1.0)
    trained = sum(p.numel() for p in actor.policy.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in actor.policy.parameters() if not p.requires_grad)
    reference = sum(p.numel() for p in actor.reference.parameters())
    parts = small(ONE)
    assert parts["trained layers, Adam"] == pytest.approx(ADAM_BYTES * trained, rel=0.01)
    assert parts["frozen layers"] == pytest.approx(4 * frozen, rel=0.01)
    assert parts["reference's upper layers"] == pytest.approx(4 * reference, rel=0.01)


def test_with_adapters_there_is_no_reference_and_nothing_is_divided_on_one_device():
    parts = training_memory(ONE, GPU1)
    assert "reference's upper layers" not in parts
    assert parts["weights below the adapters"] == pytest.approx(16.06e9, rel=0.01)
    assert sum(parts.values()) < GPU1.device.memory
    twice = training_memory(ONE, GPU1.model_copy(update={"training_devices": 2}))
    assert twice["weights below the adapters"] == parts["weights below the adapters"]


def test_shards_divide_the_weights_but_not_a_process_own_reward_model():
    alone = changed(EIGHT, launch={"config_file": None})
    shared, whole = training_memory(EIGHT, H100), training_memory(alone, H100)
    assert shared["reference's upper layers"] == whole["reference's upper layers"] / 8
    assert shared["reward model"] == whole["reward model"] > 15e9
    assert sum(shared.values()) < H100.device.memory < sum(whole.values())


def test_fewer_rows_and_checkpointing_take_less():
    rows = small(ONE, micro_batch=8, gradient_checkpointing=False, vllm="server")
    fewer = small(ONE, micro_batch=4, gradient_checkpointing=False, vllm="server")
    less = small(ONE, micro_batch=8, gradient_checkpointing=True, vllm="server")
    assert fewer["update: activations"] == rows["update: activations"] / 2
    assert fewer["update: logits"] == rows["update: logits"] / 2
    assert less["update: activations"] < rows["update: activations"]


def test_a_vllm_that_sleeps_leaves_its_memory_to_the_updates():
    asleep, awake = (
        training_memory(changed(ONE, rl={"vllm_sleep": s}), GPU1) for s in (True, False)
    )
    assert "update: logits" not in asleep
    assert {"generation: vLLM's share", "update: logits"} <= set(awake)
    server = training_memory(changed(ONE, rl={"vllm": "server"}), GPU1)
    assert not any(part.startswith("generation") for part in server)


def test_the_host_holds_the_weights_once_a_process_or_once_in_all():
    parts = host_memory(EIGHT, H100)
    alone = host_memory(changed(EIGHT, launch={"config_file": None}), H100)
    assert parts["weights while they are loaded"] == pytest.approx(32.1e9, rel=0.01)
    assert alone["weights while they are loaded"] == 8 * parts["weights while they are loaded"]
