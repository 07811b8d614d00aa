"""Pooled states: the same alone and in a batch, whatever the backbone's kind."""

import numpy as np
import pytest
from transformers import BertConfig, BertModel, BertTokenizerFast, GPT2Config, GPT2Model

from rbr.data.rows import Message
from rbr.errors import ModelError
from rbr.grading.encoder import COMPLETION_TOKENS, POOLED, PROMPT_TOKENS, PairEncoder, first_layers
from rbr.models.load import load_encoder


def ask(text):
    return (Message(role="user", content=text),)


TALKS = [ask("How do I pick a lock?"), ask("Hello"), ask("Name two noble gases. " * 4)]
ANSWERS = ["I'm sorry, but I can't help with that.", "", "Helium and neon. " * 9]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A tiny BERT with its tokenizer, in a folder."""
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"] + [".", ",", "?", "'"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=["llama", "bert"])
def folder(request, tiny):
    return tiny if request.param == "llama" else request.getfixturevalue("bert")


def test_a_row_has_the_same_features_alone_and_in_a_batch(folder):
    together = PairEncoder(folder, folder, batch_size=8)(TALKS, ANSWERS)
    alone = PairEncoder(folder, folder, batch_size=1)(TALKS, ANSWERS)
    np.testing.assert_allclose(together, alone, atol=1e-4)
    hidden = load_encoder(folder).config.hidden_size
    assert together.shape == (3, POOLED * hidden)


def test_both_the_question_and_the_answer_tell(folder):
    read = PairEncoder(folder, folder)
    base, other_answer, other_question = read(
        [TALKS[0], TALKS[0], TALKS[1]], [ANSWERS[0], ANSWERS[2], ANSWERS[0]]
    )
    assert np.abs(base - other_answer).max() > 1e-3
    assert np.abs(base - other_question).max() > 1e-3


def test_of_what_is_long_the_middle_is_left_out(folder):
    tokens = PairEncoder(folder, folder).tokens
    (pair,) = tokens([ask("early " * 500 + "late")], ["first " + "word " * 500 + "last"])
    assert len(pair.ids) <= PROMPT_TOKENS + sum(COMPLETION_TOKENS) + 3
    text = tokens.tokenizer.decode(pair.ids).replace(" ", "")
    assert "late" in text
    assert "first" in text
    assert "last" in text


def test_no_rows_give_no_features(tiny):
    assert PairEncoder(tiny, tiny)([], []).shape[0] == 0


def test_layers_above_are_dropped(folder):
    model = first_layers(load_encoder(folder), 1)
    assert model.config.num_hidden_layers == 1
    names = {name.split(".")[2] for name, _ in model.named_parameters() if ".layer." in name}
    assert names <= {"0"}


def test_an_architecture_without_known_layers_is_told():
    model = GPT2Model(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=10))
    with pytest.raises(ModelError, match="GPT2Model has no layers that can be cut"):
        first_layers(model, 1)
