"""Adapters: what is trained, the reference, and what is saved."""

import json
import shutil

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from rbr.data.rows import Message
from rbr.errors import ModelError
from rbr.models.load import load_causal, load_tokenizer
from rbr.training.actor_critic import ActorCritic
from rbr.training.adapters import train_part
from rbr.training.options import LoRAOptions, SFTOptions
from rbr.training.sft import train_sft
from tests.rbr.training.toy import made

LORA = LoRAOptions(rank=4, alpha=8.0)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return made(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def gpt2(llama, tmp_path_factory):
    """Of another architecture: its decoder is not split, its positions are learnt."""
    folder = tmp_path_factory.mktemp("gpt2") / "model"
    tokenizer = load_tokenizer(llama)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=256,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def trained_names(model):
    return [name for name, p in model.named_parameters() if p.requires_grad]


def test_adapters_are_on_the_upper_layers_alone(llama):
    model, trunk = train_part(load_causal(llama), 1, LORA)
    assert trunk == 1
    assert trained_names(model)
    assert all(".layers.1." in name and "lora_" in name for name in trained_names(model))
    model, _ = train_part(
        load_causal(llama), 1, LORA.model_copy(update={"target_modules": ("q_proj",)})
    )
    assert all(".q_proj.lora_" in name for name in trained_names(model))


def test_adapters_on_all_layers_take_any_architecture(llama, gpt2):
    for folder in (llama, gpt2):
        model, trunk = train_part(load_causal(folder), None, LORA)
        assert trunk is None
        layers = {
            part for name in trained_names(model) for part in name.split(".") if part.isdigit()
        }
        assert layers == {"0", "1"}
    with pytest.raises(ModelError, match="no decoder layers that can be split"):
        train_part(load_causal(gpt2), 1, LORA)
    with pytest.raises(ModelError, match=r"name its linear layers in lora\.target_modules"):
        train_part(load_causal(gpt2), None, LoRAOptions(target_modules=("no_such",)))


@pytest.mark.parametrize("kind, layers", [("llama", 1), ("llama", None), ("gpt2", None)])
def test_policy_and_reference_are_the_model_with_its_adapter_and_without(kind, layers, request):
    folder = request.getfixturevalue(kind)
    model, trunk = train_part(load_causal(folder), layers, LORA)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.2)
    actor_critic = ActorCritic(model, trunk, temperature=1.0)
    ids = torch.randint(5, 200, (3, 12))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0  # the prompt's padding
    mask[1, -2:] = 0  # the completion's
    found = actor_critic(ids, mask, 5)
    again = actor_critic(ids, mask, 5, states=found.states)
    torch.testing.assert_close(again.logps, found.logps)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    for logps, adapted in ((found.logps, True), (found.reference_logps, False)):
        with torch.no_grad():
            plain = load_causal(folder) if not adapted else model
            logits = plain(input_ids=ids, attention_mask=mask, position_ids=positions).logits
        expected = logits.log_softmax(-1)[:, -6:-1].gather(-1, ids[:, -5:, None])[..., 0]
        torch.testing.assert_close(logps, expected * mask[:, -5:], atol=1e-4, rtol=1e-4)
    assert (found.logps - found.reference_logps).abs().max() > 1e-3
    found.logps.sum().backward()
    # The adapter is on again, and learns.
    gradients = [p.grad for name, p in model.named_parameters() if "lora_A" in name]
    assert any(g is not None and g.abs().sum() > 0 for g in gradients)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_adapter_and_merged_model_load_as_they_are_and_say_the_same(
    kind, request, tmp_path, monkeypatch
):
    base, target = tmp_path / "models" / "base", tmp_path / "models" / "sft"
    shutil.copytree(request.getfixturevalue(kind), base)
    target.mkdir()
    demonstrations = [((Message(role="user", content=f"{i}?"),), f"It is {i}.") for i in range(16)]
    options = SFTOptions(trained_layers=None, lora=LORA, learning_rate=1e-2, batch_size=4)
    train_sft(base, demonstrations, tmp_path / "c", target, options, 0, base_name="models/base")
    monkeypatch.chdir(tmp_path)
    merged = AutoModelForCausalLM.from_pretrained(target)
    beside = [
        AutoPeftModelForCausalLM.from_pretrained(target / "adapter"),
        AutoModelForCausalLM.from_pretrained(target / "adapter"),
    ]
    before = AutoModelForCausalLM.from_pretrained(base)
    ids = torch.tensor([AutoTokenizer.from_pretrained(target)("It is 3.")["input_ids"]])
    with torch.no_grad():
        expected = merged(ids).logits
        for model in beside:
            torch.testing.assert_close(model(ids).logits, expected, atol=1e-4, rtol=1e-4)
        assert (before(ids).logits - expected).abs().max() > 1e-2
    assert (
        json.loads((target / "adapter" / "adapter_config.json").read_text())[
            "base_model_name_or_path"
        ]
        == "models/base"
    )
