"""Micro-batches and gradient checkpointing change what fits, not what is learnt."""

import pytest
import torch

from rbr.data.rows import HelpfulPrompt, Message, Preference
from rbr.errors import DataError
from rbr.models.load import load_causal, load_scorer
from rbr.models.trainer import batches
from rbr.training.options import LoRAOptions, RewardModelOptions, RLOptions, SFTOptions
from rbr.training.policy import train_policy
from rbr.training.reward_model import RewardModel, accuracy, train_reward_model
from rbr.training.sft import train_sft

CONVERSATIONS = [(Message(role="user", content=f"How do I open lock {i}?"),) for i in range(8)]
ANSWERS = [f"Sorry, I cannot help with lock {i}." + " Really." * (i % 3) for i in range(8)]
PAIRS = [
    Preference(id=f"p{i}", family="f", conversation=turns, chosen="Here it is.", rejected=answer)
    for i, (turns, answer) in enumerate(zip(CONVERSATIONS, ANSWERS, strict=True))
]
SMALLER = [{}, {"micro_batch": 1, "gradient_checkpointing": True}]


def test_a_share_that_does_not_divide_is_told(monkeypatch):
    assert batches(16, None, "x") == (16, 1)
    assert batches(16, 4, "x") == (4, 4)
    assert batches(4, 16, "x") == (4, 1)
    with pytest.raises(DataError, match="share of x is 16: no multiple of micro_batch 3"):
        batches(16, 3, "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert batches(16, 4, "x") == (4, 2)


def assert_same(first, second):
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, atol=2e-4, rtol=2e-3)


@pytest.mark.parametrize("lora", [None, LoRAOptions(rank=2)], ids=["whole", "adapters"])
def test_fine_tuning_learns_the_same(tiny_model, tmp_path, lora):
    models = []
    for number, changes in enumerate(SMALLER):
        options = SFTOptions(trained_layers=2, batch_size=4, epochs=1, lora=lora, **changes)
        rows = list(zip(CONVERSATIONS, ANSWERS, strict=True))
        run, target = tmp_path / f"run{number}", tmp_path / f"model{number}"
        train_sft(tiny_model, rows, run, target, options, 0)
        models.append(load_causal(target))
    assert_same(*models)


def length_reward(completions, **_):
    return [float(len(answer[0]["content"])) for answer in completions]


@pytest.mark.parametrize("lora", [None, LoRAOptions(rank=2)], ids=["whole", "adapters"])
def test_ppo_learns_the_same(tiny_model, tmp_path, lora):
    prompts = [
        HelpfulPrompt(id=f"h{i}", family="f", conversation=turns)
        for i, turns in enumerate(CONVERSATIONS)
    ]
    models = []
    for number, changes in enumerate(SMALLER):
        options = RLOptions(
            steps=2, prompts_per_step=8, max_new_tokens=6, trained_layers=2, lora=lora, max_kl=1e9,
            **changes,
        )  # fmt: skip
        run, target = tmp_path / f"run{number}", tmp_path / f"model{number}"
        found = train_policy(tiny_model, [], prompts, length_reward, run, target, options, 0)
        assert found["rollouts"] == 2
        models.append(load_causal(target))
    assert_same(*models)


def test_a_reward_model_of_adapters_learns_and_is_saved_whole(tiny_model, tmp_path):
    options = RewardModelOptions(
        layers=3, trained_layers=2, lora=LoRAOptions(rank=8), batch_size=4, micro_batch=2, epochs=15,
        learning_rate=5e-3, gradient_checkpointing=True,
    )  # fmt: skip
    train_reward_model(tiny_model, PAIRS, tmp_path / "run", tmp_path / "rm", options, 0)
    assert load_scorer(tmp_path / "rm").config.num_hidden_layers == 3
    assert not list((tmp_path / "rm").glob("adapter*"))
    assert accuracy(RewardModel(tmp_path / "rm"), PAIRS) > 0.7
