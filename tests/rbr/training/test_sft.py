"""What fine-tuning learns of an answer, and at which temperature."""

import pytest
import torch

from rbr.data.rows import Message
from rbr.models.load import load_causal, load_tokenizer, prompt_text
from rbr.training.demonstrations import Example
from rbr.training.options import SFTOptions
from rbr.training.sft import IGNORED, opening, train_sft

TALK = (Message(role="user", content="Question?"),)


@pytest.mark.parametrize(
    ("is_opening", "tokens", "learnt"),
    [(True, 2, [7, 8]), (True, 9, [7, 8, 9]), (False, 2, [7, 8, 9])],
)
def test_of_an_opening_the_first_tokens_are_learnt(is_opening, tokens, learnt):
    row = {
        "opening": is_opening,
        "input_ids": [4, 5, 7, 8, 9],
        "labels": [IGNORED, IGNORED, 7, 8, 9],
    }
    found = opening(row, tokens)
    assert [label for label in found["labels"] if label != IGNORED] == learnt
    assert found["input_ids"] == [4, 5, *learnt]


def test_only_openings_are_cut(tiny_model, tmp_path):
    """The loss of the first step is that of the tokens that are learnt."""

    def loss(rows, **changes):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        options = SFTOptions(
            trained_layers=2, batch_size=2, epochs=1, lora=None, learning_rate=1e-9, **changes
        )
        return train_sft(tiny_model, rows, folder / "run", folder, options, 0)["loss_first"]

    long, start = "one two three four five six", "one"
    cut = loss([Example(TALK, long, True)] * 2, answer_tokens=1)
    assert cut != pytest.approx(loss([Example(TALK, long)] * 2, answer_tokens=1))
    assert cut == pytest.approx(token_loss(tiny_model, start, 1, 1.0), rel=1e-3)
    whole = loss([(TALK, long)] * 2)
    assert whole == pytest.approx(loss([Example(TALK, long, True)] * 2), rel=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_loss_is_at_the_temperature_of_the_answers(tiny_model, tmp_path, temperature):
    options = SFTOptions(
        trained_layers=2, batch_size=2, epochs=1, lora=None, learning_rate=1e-9,
        temperature=temperature, answer_tokens=1,
    )  # fmt: skip
    rows = [Example(TALK, "one two", True)] * 2
    found = train_sft(tiny_model, rows, tmp_path / "run", tmp_path, options, 0)["loss_first"]
    assert found == pytest.approx(token_loss(tiny_model, "one", 1, temperature), rel=1e-3)


def token_loss(folder, answer, tokens, temperature):
    """Of the first tokens of an answer, by hand."""
    model, tokenizer = load_causal(folder), load_tokenizer(folder)
    before = tokenizer(prompt_text(tokenizer, TALK), add_special_tokens=False)["input_ids"]
    after = tokenizer(answer, add_special_tokens=False)["input_ids"][:tokens]
    with torch.no_grad():
        logits = model(torch.tensor([before + after])).logits[0] / temperature
    places = range(len(before) - 1, len(before) + len(after) - 1)
    logps = logits.log_softmax(-1)
    return -float(sum(logps[i, token] for i, token in zip(places, after, strict=True)) / len(after))
