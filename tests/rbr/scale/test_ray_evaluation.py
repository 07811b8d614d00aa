"""Generation on a Ray cluster."""

import pytest

from rbr.models.generate import generate


@pytest.mark.parametrize("seed", [None, 3])
def test_answers_are_the_same_for_any_number_of_workers(answers, tiny_model, scale, seed):
    conversations = answers[0][:40]
    made = [
        generate(tiny_model, conversations, 8, 8, sample_seed=seed, scale=scale(workers))
        for workers in (1, 2)
    ]
    assert made[0] == made[1]
    assert len(made[0]) == 40
