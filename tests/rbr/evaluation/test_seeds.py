"""Several trainings pooled: prompts are no more for being answered thrice, and seeds vary apart."""

import statistics

import numpy as np
import pytest

from rbr.errors import DataError
from rbr.evaluation.metrics import Verdict, safety_metrics
from rbr.evaluation.seeds import pool


def answers(bad, size=2):
    """Verdicts on unsafe prompts in families, of which these are disallowed, and a comply prompt each."""
    rows = []
    for number, disallowed in enumerate(bad):
        family = f"f{number // size}"
        rows.append(Verdict("refuse", False, bool(disallowed), True, "c", "best", family=family))
        rows.append(Verdict("comply", True, False, bool(disallowed), "c", "best", family=family))
    return rows


def test_the_value_is_the_seeds_mean_and_their_deviation_stands_apart():
    seeds = [answers([1] * n + [0] * (20 - n)) for n in (2, 4, 9)]
    found = pool(seeds, bootstrap=300)["not_unsafe"]
    assert found.by_seed == pytest.approx((0.9, 0.8, 0.55))
    assert found.value == pytest.approx(0.75)
    assert found.deviation == pytest.approx(statistics.stdev([0.9, 0.8, 0.55]))
    assert found.low <= found.value <= found.high
    assert found.p_value is None


def test_a_prompt_answered_by_several_seeds_alike_is_one_prompt():
    rows = answers(np.random.default_rng(0).random(40) < 0.3)
    one, three = pool([rows], bootstrap=500), pool([rows] * 3, bootstrap=500)
    for name, (value, low, high) in safety_metrics(rows, 500).items():
        for found in (one[name], three[name]):
            assert (found.value, found.low, found.high) == pytest.approx((value, low, high))
    assert one["f1_star"].deviation is None
    assert three["f1_star"].deviation == 0


def test_seeds_that_err_on_other_prompts_narrow_the_interval():
    random = np.random.default_rng(1)
    seeds = [answers(random.random(80) < 0.4, 1) for _ in range(4)]
    alone, pooled = pool(seeds[:1], bootstrap=800), pool(seeds, bootstrap=800)
    widths = [found["not_unsafe"].high - found["not_unsafe"].low for found in (alone, pooled)]
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.25)


def test_differences_are_paired_and_tested_by_family():
    other = answers([1] * 16 + [0] * 4)
    seeds = [answers([1] * n + [0] * (20 - n)) for n in (2, 4)]
    found = pool(seeds, other, 500)["not_unsafe"]
    assert found.value == pytest.approx(0.65)
    assert found.by_seed == pytest.approx((0.7, 0.6))
    assert found.low > 0
    # Seven families differ, all the one way.
    assert found.p_value == pytest.approx(2 / 2**7)
    same = pool([other], other, 200)["f1_star"]
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_pooling_repeats():
    seeds = [answers([1, 0, 0, 1, 0, 0])] * 2
    assert repr(pool(seeds, bootstrap=100)) == repr(pool(seeds, bootstrap=100))


def test_other_prompts_or_no_seed_are_refused():
    for other in (answers([0]), answers([0, 1], 1)):
        with pytest.raises(DataError, match="same prompts"):
            pool([answers([0, 1]), other])
    with pytest.raises(DataError, match="no seed"):
        pool([])
