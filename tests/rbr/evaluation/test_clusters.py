"""Inference over families against simulations and against other implementations."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from rbr.evaluation.clusters import (
    detectable,
    holm,
    interval,
    mean,
    ratio,
    resampled,
    sign_flip_test,
    totals,
)

FAMILY = [f"f{row // 6}" for row in range(240)]


def alike(random, count=40, size=6, share=0.7):
    """Answers of families whose prompts mostly go one way: 1 with this share, (count * size,)."""
    own = random.beta(share, 1 - share, count)
    return (random.random((count, size)) < own[:, None]).astype(float).ravel()


def shares(sums):
    return {"share": sums[:, 0] / sums[:, 1]}


def test_totals_are_per_family_and_a_row_without_one_stands_for_itself():
    values = np.array([[1.0], [2.0], [4.0], [8.0], [16.0]])
    assert totals(values, ["a", None, "b", "a", None]).ravel().tolist() == [9, 2, 4, 16]


def test_intervals_over_families_cover_the_truth_where_those_over_prompts_do_not():
    random = np.random.default_rng(0)
    families_held, prompts_held, runs = 0, 0, 300
    for run in range(runs):
        values = alike(random)
        _, low, high = mean(values, FAMILY, 500, run)
        families_held += low <= 0.7 <= high
        _, low, high = mean(values, [None] * len(values), 500, run)
        prompts_held += low <= 0.7 <= high
    assert 0.92 <= families_held / runs <= 0.98
    assert prompts_held / runs < 0.8


def test_few_families_are_covered_too_and_plain_percentiles_are_too_narrow():
    random = np.random.default_rng(1)
    expanded, plain, runs = 0, 0, 400
    for run in range(runs):
        values = random.normal(0.0, 1.0, 8)
        samples = resampled(values[:, None], 800, run)[:, 0] / 8
        low, high = interval(samples, 8)
        expanded += low <= 0 <= high
        low, high = np.quantile(samples, [0.025, 0.975])
        plain += low <= 0 <= high
    assert 0.925 <= expanded / runs <= 0.98
    assert plain / runs < 0.92


def test_intervals_repeat_and_depend_on_the_seed():
    values = alike(np.random.default_rng(2))
    assert mean(values, FAMILY, 300, 5) == mean(values, FAMILY, 300, 5)
    assert mean(values, FAMILY, 300, 5) != mean(values, FAMILY, 300, 6)


def test_a_ratio_weighs_rows_by_their_denominators_and_of_nothing_is_not_a_number():
    value, low, high = ratio([-2.0, -9.0], [1, 9], [None, None], 500)
    assert value == pytest.approx(-1.1)
    assert low <= value <= high
    assert all(math.isnan(part) for part in ratio([0.0], [0], ["a"], 50))


def test_the_sign_flip_test_of_prompts_alone_is_mcnemars():
    first, second = np.zeros((60, 2)), np.zeros((60, 2))
    first[:, 1] = second[:, 1] = 1
    first[:9, 0], second[9:12, 0] = 1, 1
    exact = binomtest(9, 12).pvalue
    assert sign_flip_test(first, second, shares)["share"] == pytest.approx(exact)
    first[12:32, 0], second[32:40, 0] = 1, 1
    exact = binomtest(29, 40).pvalue
    assert sign_flip_test(first, second, shares)["share"] == pytest.approx(exact, rel=0.35)


def test_the_test_keeps_its_level_where_families_answer_alike():
    random = np.random.default_rng(3)
    families, prompts, runs = 0, 0, 200
    for run in range(runs):
        # Each family goes to one of two equal models whole.
        own = np.repeat(random.random(30) < 0.5, 4).astype(float)
        rows = [np.column_stack([side, np.ones(120)]) for side in (own, 1 - own)]
        names = [f"f{row // 4}" for row in range(120)]
        sums = [totals(side, names) for side in rows]
        families += sign_flip_test(*sums, shares, run)["share"] < 0.05
        prompts += binomtest(int(own.sum()), 120).pvalue < 0.05
    assert families / runs <= 0.085
    assert prompts / runs > 0.2


def test_equal_models_have_no_evidence_against_them():
    same = np.ones((20, 2))
    assert sign_flip_test(same, same, shares) == {"share": 1.0}


@pytest.mark.parametrize(
    ("given", "corrected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.4, 0.001], [0.4, 0.002]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([], []),
    ],
)
def test_holm_multiplies_the_smallest_by_the_count_and_never_lets_order_turn(given, corrected):
    assert holm(given) == pytest.approx(corrected)


def test_holm_keeps_a_false_alarm_among_many_at_the_level():
    random = np.random.default_rng(4)
    alarms = sum(min(holm(random.random(8).tolist())) < 0.05 for _ in range(2000))
    assert alarms / 2000 <= 0.06


def test_holm_leaves_out_what_was_not_tested():
    first, untested, last = holm([0.02, math.nan, 0.5])
    assert (first, last) == (0.04, 0.5)
    assert math.isnan(untested)


def test_the_detectable_difference_is_seen_with_the_power_that_it_says():
    error = 0.03
    gap = detectable(error)
    seen = np.abs(np.random.default_rng(5).normal(gap, error, 20_000)) > norm.ppf(0.975) * error
    assert seen.mean() == pytest.approx(0.8, abs=0.01)
    assert math.isnan(detectable(0.0))


def test_draws_in_portions_are_those_in_one(monkeypatch):
    sums = np.random.default_rng(6).random((30, 2))
    whole = resampled(sums, 100, 1)
    assert whole.mean(0) == pytest.approx(sums.sum(0), rel=0.1)
    monkeypatch.setattr("rbr.evaluation.clusters.CELLS", 200)
    assert resampled(sums, 100, 1) == pytest.approx(whole)
