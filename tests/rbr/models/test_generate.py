"""Generation in this process."""

import pytest

from rbr.models.generate import Batch, Generator, generate


@pytest.mark.parametrize("seed", [None, 5])
def test_a_generation_that_is_killed_twice_goes_on_to_the_same_answers(
    answers, tiny_model, tmp_path, seed
):
    conversations = answers[0][:12]
    kept = tmp_path / "kept.jsonl"
    whole = generate(tiny_model, conversations, 6, 4, kept, sample_seed=seed)
    lines = kept.read_text().splitlines()
    assert len(lines) == 12
    kept.write_text("\n".join(lines[:3]) + '\n{"index": 9, "compl')
    assert generate(tiny_model, conversations, 6, 4, kept, sample_seed=seed) == whole
    again = kept.read_text().splitlines()
    assert sorted(again) == sorted(lines)
    # The second kill: what was written after the first torn line is not lost.
    kept.write_text("\n".join(again[:8]) + "\n" + again[8][:5])
    batches = []
    generate(tiny_model, conversations, 6, 4, kept, lambda *done: batches.append(done), seed)
    assert batches == [(12, 12)]
    assert sorted(kept.read_text().splitlines()) == sorted(lines)


@pytest.mark.parametrize("seed", [None, 5])
def test_answers_do_not_depend_on_how_they_are_batched(answers, tiny_model, seed):
    conversations = answers[0][:12]
    whole = generate(tiny_model, conversations, 6, 4, sample_seed=seed)
    assert generate(tiny_model, conversations, 6, 5, sample_seed=seed) == whole
    assert generate(tiny_model, conversations, 6, 1, sample_seed=seed) == whole


def test_rows_and_seeds_are_sampled_apart(answers, tiny_model):
    same = [answers[0][0]] * 8
    texts = [answer.text for answer in generate(tiny_model, same, 6, 8, sample_seed=1)]
    assert len(set(texts)) > 4
    again = generate(tiny_model, same, 6, 8, sample_seed=2)
    assert [answer.text for answer in again] != texts
    assert len(set(generate(tiny_model, same, 6, 8))) == 1


@pytest.mark.parametrize(
    ("written", "answer"), [("<think>hm</think>\n a ", "a"), ("<think>hm", ""), (" a ", "a")]
)
def test_reasoning_is_no_answer(answers, tiny_model, monkeypatch, written, answer):
    generator = Generator(tiny_model, 4)
    monkeypatch.setattr(generator.tokenizer, "batch_decode", lambda *_, **__: [written])
    (found,) = generator(Batch(tuple(answers[0][:1]), None))
    assert found.text == answer
