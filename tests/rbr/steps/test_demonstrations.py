"""What the variants' SFT learns from."""

import random
from collections import Counter

import pytest

from rbr.settings import SFT
from rbr.steps.sft_checkpoint import evenly, shares


@pytest.mark.parametrize("count", [0, 1, 5, 12, 100])
def test_refusals_are_drawn_evenly_and_a_small_group_again_and_again(count):
    groups = [
        [(f"{name}{i}", "no") for i in range(size)] for name, size in (("hard", 50), ("soft", 4))
    ]
    drawn = Counter(talk for talk, _ in evenly(groups, count, random.Random(0)))
    by_group = Counter(dict.fromkeys(("hard", "soft"), 0))
    for talk, times in drawn.items():
        by_group[talk[:4]] += times
    assert sum(by_group.values()) == count
    assert abs(by_group["hard"] - by_group["soft"]) <= 1
    for name in ("hard", "soft"):
        times = [n for talk, n in drawn.items() if talk.startswith(name)]
        # None a second time before all of its group had their first.
        assert max(times, default=0) <= -(-by_group[name] // (50 if name == "hard" else 4))


def test_without_refusals_to_learn_from_there_are_none():
    assert evenly([], 10, random.Random(0)) == []


@pytest.mark.parametrize(
    "written, found", [(1000, (80, 20)), (80, (80, 20)), (40, (40, 10)), (0, (0, 0))]
)
def test_the_share_of_answers_holds_where_they_run_out(written, found):
    assert shares(SFT(safety_demos=100, comply_share=0.8), written) == found


def test_with_no_answers_wanted_all_are_refusals():
    assert shares(SFT(safety_demos=10, comply_share=0.0), 5) == (0, 10)
