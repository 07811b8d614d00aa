"""Pooled states: the same alone and in a batch, whatever the backbone's kind."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast, GPT2Config, GPT2Model

from rbr.data.rows import Message
from rbr.errors import ModelError
from rbr.grading.encoder import (
    COMPLETION_TOKENS,
    OVERLAP,
    POOLED,
    PairEncoder,
    PairTokenizer,
    first_layers,
    pooled,
)
from rbr.models.load import load_encoder, load_tokenizer


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


def test_an_answer_is_read_whole_in_windows_where_the_model_has_few_positions(folder):
    tokenizer = load_tokenizer(folder)
    answer = "The quick brown fox jumps over the lazy dog. " * 20
    ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
    (pair,) = PairTokenizer(tokenizer, positions=150)([ask("early " * 500 + "late")], [answer])
    assert len(pair.windows) > 2
    assert all(len(window) <= 150 for window in pair.windows)
    assert pair.unread == 0
    assert len({window[: pair.start] for window in pair.windows}) == 1
    stretches = [list(window[pair.start : -1]) for window in pair.windows]
    read = stretches[0]
    for stretch in stretches[1:]:
        assert read[-OVERLAP:] == stretch[:OVERLAP]
        read = read + stretch[OVERLAP:]
    assert read == ids


def test_windows_are_pooled_together(folder):
    """The maximum and the mean over all windows of a row, and the last state of its last one."""
    model = load_encoder(folder).eval()
    tokens = PairTokenizer(load_tokenizer(folder), positions=150)
    batch = tokens.batch(tokens([ask("Hi"), ask("Hi")], ["the lazy dog " * 60, "a b c"]))
    count = len(batch["row"])
    assert batch["row"].tolist() == [0] * (count - 1) + [1]
    alone = [{name: values[k : k + 1] for name, values in batch.items()} for k in range(count)]
    row = {"row": torch.zeros(1, dtype=torch.long)}
    with torch.inference_mode():
        together, short = pooled(model, **batch)
        *windows, other = (pooled(model, **window | row)[0] for window in alone)
    assert len(windows) > 1
    hidden = model.config.hidden_size
    means, largest, last, _ = torch.stack(windows).split(hidden, dim=1)
    share = batch["completion_mask"][:-1].sum(1, keepdim=True)
    expected = [(means * share).sum(0) / share.sum(), largest.amax(0), last[-1]]
    torch.testing.assert_close(together[: 3 * hidden], torch.cat(expected), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(short, other, atol=1e-4, rtol=1e-4)


def test_of_what_is_very_long_the_middle_is_left_out_and_counted(folder):
    tokenizer = load_tokenizer(folder)
    answer = "one two three four five six seven. " * 400
    ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
    (pair,) = PairTokenizer(tokenizer)([ask("Hi")], [answer])
    first, last = COMPLETION_TOKENS
    assert pair.unread == len(ids) - first - last > 0
    assert list(pair.windows[0][pair.start : -1]) == ids[:first] + ids[-last:]


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
