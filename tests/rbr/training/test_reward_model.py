"""What a reward model reads of long conversations and answers, in scoring and in training."""

import logging

import numpy as np
import pytest
import torch

from rbr.data.rows import Message, Preference
from rbr.models.load import load_scorer, load_tokenizer, prompt_text
from rbr.models.trunk import length_batches
from rbr.reward.rule_based_reward import RuleBasedReward
from rbr.training import reward_model
from rbr.training.options import RewardModelOptions
from rbr.training.reward_model import RewardModel, read_ids, train_reward_model
from tests.fakes import FixedGrader, drawn_weights


@pytest.fixture(scope="module")
def scorer(tiny_model, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("scorer")
    model = load_scorer(tiny_model)
    model.config.pad_token_id = None
    model.save_pretrained(folder)
    load_tokenizer(tiny_model).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return load_tokenizer(tiny_model)


def talk(text):
    return (Message(role="user", content=text),)


LONG = talk("Tell me of locks and keys. " * 300)
KIND, RUDE = "Here you are: the first lock was of wood.", "You fool, I will not tell you."


def test_the_answer_of_a_long_conversation_is_read(scorer):
    model = RewardModel(scorer)
    assert model.max_tokens == 1024  # the model's positions, fewer than are asked for
    kind, rude = model.score([LONG] * 2, [KIND, RUDE])
    assert kind != rude
    assert min(model.unread_tokens([LONG] * 2, [KIND, RUDE])) > 0
    assert model.unread_tokens([talk("q")] * 2, [KIND, ""]) == [0, 0]


def test_the_middle_of_a_long_answer_is_read_if_it_fits(scorer):
    model = RewardModel(scorer)
    part = "It is a plain answer. " * 20
    answers = [part + insult + part for insult in ("", RUDE)]
    assert model.unread_tokens([talk("q")] * 2, answers) == [0, 0]
    first, second = model.score([talk("q")] * 2, answers)
    assert first != second


@pytest.mark.parametrize("limit", [40, 41, 200])
def test_what_is_read_ends_with_the_answer_and_loses_the_conversations_beginning(tokenizer, limit):
    ids, unread = read_ids(tokenizer, LONG, KIND, limit)
    whole = tokenizer(f"{prompt_text(tokenizer, LONG)}{KIND}<|im_end|>\n", add_special_tokens=False)
    assert ids == whole["input_ids"][-limit:]
    assert unread == len(whole["input_ids"]) - limit
    assert tokenizer.decode(ids).endswith(f"<|im_start|>assistant\n{KIND}<|im_end|>\n")


@pytest.mark.parametrize("limit", [10, 11])
def test_an_answer_that_is_too_long_alone_loses_its_middle(tokenizer, limit):
    ids, unread = read_ids(tokenizer, talk("q"), KIND, limit)
    answer = tokenizer(f"{KIND}<|im_end|>\n", add_special_tokens=False)["input_ids"]
    assert len(answer) > len(ids) == limit
    assert ids[:5] == answer[:5]
    assert ids[-5:] == answer[-5:]
    assert unread == len(read_ids(tokenizer, talk("q"), KIND, 9999)[0]) - limit


def test_long_rows_change_no_other_score(scorer, caplog):
    model, texts = RewardModel(scorer, batch_size=4), ["a", "b b", KIND, RUDE, "c"]
    with caplog.at_level(logging.WARNING):
        together = model.score([talk("q")] * 4 + [LONG], texts)
    assert "1 of 5 rows lose" in caplog.text
    alone = [model.score([t], [c])[0] for t, c in zip([talk("q")] * 4 + [LONG], texts, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert list(length_batches([9, 5, 5, 1], 4, 10)) == [[0], [1, 2], [3]]


def test_an_explanation_and_the_metrics_tell_unread_tokens(scorer, rules):
    model = RewardModel(scorer)
    reward = RuleBasedReward(
        rules, drawn_weights(rules), FixedGrader(rules.proposition_names), model
    )
    [unread] = model.unread_tokens([LONG], [KIND])
    assert reward.explain(LONG, KIND, "comply").unread_tokens == unread > 0
    assert reward.explain(talk("q"), KIND, None).unread_tokens == 0
    logged = {}
    prompts = [[turn.model_dump() for turn in turns] for turns in (LONG, talk("q"))]
    reward(prompts, [KIND] * 2, log_metric=logged.__setitem__)
    assert logged["reward/unread_tokens"] == unread / 2


def test_training_drops_no_pair_and_no_answer(tiny_model, tmp_path, monkeypatch, caplog):
    seen = []

    def record(trainer, *_):
        seen.extend(trainer.train_dataset)

    monkeypatch.setattr(reward_model, "run_training", record)
    monkeypatch.setattr(reward_model, "save_model", lambda *_: None)
    pairs = [
        Preference(id=f"p{i}", family="f", conversation=turns, chosen=KIND, rejected=RUDE)
        for i, turns in enumerate((LONG, talk("q")))
    ]
    options = RewardModelOptions(layers=2, trained_layers=1)
    with caplog.at_level(logging.WARNING):
        train_reward_model(tiny_model, pairs, tmp_path, tmp_path, options, 0)
    assert "2 of 4 rows lose" in caplog.text
    tokenizer = load_tokenizer(tiny_model)
    for row in seen:
        for side, text in (("chosen_ids", KIND), ("rejected_ids", RUDE)):
            assert len(row[side]) <= 512
            assert tokenizer.decode(row[side]).endswith(f"assistant\n{text}<|im_end|>\n")
    assert len(seen) == 2


def test_a_reward_model_learns_from_pairs(tiny_model, tmp_path):
    pairs = [
        Preference(id=f"p{i}", family="f", conversation=talk(f"q{i}"), chosen=KIND, rejected=RUDE)
        for i in range(8)
    ]
    options = RewardModelOptions(
        layers=2, trained_layers=2, batch_size=4, epochs=8, learning_rate=1e-3
    )
    train_reward_model(tiny_model, pairs, tmp_path / "c", tmp_path / "rm", options, 0)
    assert reward_model.accuracy(RewardModel(tmp_path / "rm"), pairs) == 1.0
