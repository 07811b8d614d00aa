"""Noise on grades: as much as is asked for, and the same each time."""

import numpy as np
import pytest

from rbr.data.rows import Message
from rbr.grading.noise import NoisyGrader
from tests.fakes import FixedGrader

NAMES = tuple(f"p{i}" for i in range(10))
TALKS = [(Message(role="user", content=f"question {i}"),) for i in range(400)]
TEXTS = [f"answer {i}" for i in range(400)]


def turned(noise, seed=0):
    clean = FixedGrader(NAMES).grade(TALKS, TEXTS)
    noisy = NoisyGrader(FixedGrader(NAMES), noise, seed).grade(TALKS, TEXTS)
    same, other = np.isclose(noisy, clean), np.isclose(noisy, 1 - clean)
    assert (same | other).all()
    return ~same


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.5])
def test_the_share_of_grades_turned_round_is_the_one_asked_for(noise):
    # 4,000 draws: three standard errors.
    assert turned(noise).mean() == pytest.approx(noise, abs=3 * np.sqrt(noise * (1 - noise) / 4000))


def test_more_noise_turns_the_same_grades_and_others():
    few, many = turned(0.1), turned(0.3)
    assert (many | ~few).all()
    assert many.sum() > few.sum()


def test_an_answer_gets_the_same_grades_in_any_batch_and_another_seed_draws_others():
    noisy = NoisyGrader(FixedGrader(NAMES), 0.3)
    whole = noisy.grade(TALKS[:20], TEXTS[:20])
    apart = np.concatenate([noisy.grade([TALKS[i]], [TEXTS[i]]) for i in range(20)])
    assert (whole == apart).all()
    assert (turned(0.3) != turned(0.3, seed=1)).any()


def test_what_is_said_of_the_grader_says_the_noise():
    noisy = NoisyGrader(FixedGrader(NAMES), 0.3)
    assert noisy.identity("p0") != FixedGrader(NAMES).identity("p0")
    assert noisy.propositions == NAMES
