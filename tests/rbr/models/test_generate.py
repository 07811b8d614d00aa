"""Generation in this process."""

import pytest

from rbr.models.generate import generate


@pytest.mark.parametrize("seed", [None, 5])
def test_a_killed_generation_goes_on_to_the_same_answers(answers, tiny_model, tmp_path, seed):
    conversations = answers[0][:12]
    kept = tmp_path / "kept.jsonl"
    whole = generate(tiny_model, conversations, 6, 4, kept, sample_seed=seed)
    lines = kept.read_text().splitlines()
    assert len(lines) == 12
    kept.write_text("\n".join(lines[:4]) + '\n{"index": 9, "compl')
    assert generate(tiny_model, conversations, 6, 4, kept, sample_seed=seed) == whole
