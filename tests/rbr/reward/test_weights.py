"""Weight fitting against a linear programme and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from rbr.errors import DataError
from rbr.reward.weights import Pairs, fit_weights, make_pairs, pair_error


def problem(seed, prompts=12, features=4):
    random = np.random.default_rng(seed)
    labels = ["good", "bad", "worse"] * prompts
    names = [f"p{i // 3}" for i in range(3 * prompts)]
    phi = random.random((3 * prompts, features))
    rm = random.normal(size=3 * prompts)
    pairs = make_pairs(names, labels, [["good"], ["bad"], ["worse"]], 1.0, {("good", "worse"): 2.5})
    return phi, rm, pairs


def hinge(w, phi, rm, pairs, l2):
    total = rm + phi @ w
    loss = [
        max(0.0, m - (total[b] - total[c]))
        for b, c, m in zip(pairs.better, pairs.worse, pairs.margin, strict=True)
    ]
    return sum(loss) / len(loss) + 0.5 * l2 * float(w @ w)


@pytest.mark.parametrize("seed", range(4))
def test_with_next_to_no_l2_the_loss_is_the_linear_programmes(seed):
    phi, rm, pairs = problem(seed)
    d = phi[pairs.better] - phi[pairs.worse]
    c = pairs.margin - (rm[pairs.better] - rm[pairs.worse])
    n, f = d.shape
    # Variables: w, then one slack a pair; slack >= c - d w.
    found = linprog(
        np.r_[np.zeros(f), np.full(n, 1 / n)],
        A_ub=np.c_[-d, -np.eye(n)],
        b_ub=-c,
        bounds=[(-50, 50)] * f + [(0, None)] * n,
    )
    assert found.success
    fit = fit_weights(phi, rm, pairs, 1e-6, np.array([[-50.0] * f, [50.0] * f]))
    assert hinge(fit.weights, phi, rm, pairs, 0.0) == pytest.approx(found.fun, abs=3e-3)


def test_in_one_dimension_no_point_of_a_fine_grid_is_better():
    phi, rm, pairs = problem(7, features=1)
    fit = fit_weights(phi, rm, pairs, 0.01)
    grid = min(hinge(np.array([w]), phi, rm, pairs, 0.01) for w in np.linspace(-20, 20, 20001))
    assert hinge(fit.weights, phi, rm, pairs, 0.01) <= grid * (1 + 1e-3)
    assert fit.objective == pytest.approx(hinge(fit.weights, phi, rm, pairs, 0.01))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1e-3, 1e-2, 1e-1]))
def test_the_gap_certifies_the_optimum_and_is_small(seed, l2):
    phi, rm, pairs = problem(seed)
    fit = fit_weights(phi, rm, pairs, l2)
    assert fit.gap + 1e-12 >= 0
    assert fit.gap < 1e-2
    random = np.random.default_rng(seed)
    for scale in (0.01, 0.1, 1.0):
        other = fit.weights + scale * random.normal(size=len(fit.weights))
        assert hinge(other, phi, rm, pairs, l2) >= fit.objective * (1 - fit.gap) - 1e-9


def test_bounds_hold():
    phi, rm, pairs = problem(3)
    lower = np.array([0.0, -np.inf, 0.0, -np.inf])
    upper = np.array([np.inf, 0.0, np.inf, 0.0])
    fit = fit_weights(phi, rm, pairs, 1e-2, np.array([lower, upper]))
    assert (fit.weights >= lower).all()
    assert (fit.weights <= upper).all()
    assert np.abs(fit.weights).max() > 0


def test_fractional_margins_count_in_full():
    pairs = make_pairs(["a", "a"], ["x", "y"], [["x"], ["y"]], 1.0, {("x", "y"): 0.25})
    assert pairs.margin.tolist() == [0.25]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), max_size=20))
def test_pairs_are_those_of_brute_force(rows):
    ordering = [["a"], ["b", "c"]]
    prompts, labels = [str(p) for p, _ in rows], [label for _, label in rows]
    rank = {"a": 0, "b": 1, "c": 1}
    expected = {
        (i, j)
        for i in range(len(rows))
        for j in range(len(rows))
        if prompts[i] == prompts[j] and rank[labels[i]] < rank[labels[j]]
    }
    pairs = make_pairs(prompts, labels, ordering)
    found = list(zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True))
    assert set(found) == expected
    assert len(found) == len(expected)


def test_a_tie_is_an_error():
    pairs = Pairs(np.array([0, 0]), np.array([1, 2]), np.ones(2))
    assert pair_error(np.array([1.0, 1.0, 0.0]), pairs) == 0.5


def test_a_label_without_rank_is_named():
    with pytest.raises(DataError, match="odd"):
        make_pairs(["p"], ["odd"], [["good"]])


def test_no_pairs_and_broken_values_are_refused():
    phi, rm, pairs = problem(0)
    empty = Pairs(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    with pytest.raises(DataError, match="no pairs"):
        fit_weights(phi, rm, empty, 0.1)
    phi[0, 0] = np.nan
    with pytest.raises(DataError, match="finite"):
        fit_weights(phi, rm, pairs, 0.1)
