"""The checks before RL, on comparisons whose answer is known."""

import numpy as np
import pytest

from rbr.reward.fit import Comparisons, centred, drop_one, fit_path, prompt_curve

ORDERING = [["ideal"], ["bad"]]
FREE = np.array([[-np.inf, -np.inf], [np.inf, np.inf]])


def comparisons(prompts=40, seed=0, noise=0.0):
    """Feature 0 tells ideal (1) from bad (0), but for ``noise``; feature 1 says nothing."""
    random = np.random.default_rng(seed)
    names = [f"p{i // 2}" for i in range(2 * prompts)]
    labels = ["ideal", "bad"] * prompts
    truth = np.array([float(label == "ideal") for label in labels])
    flip = random.random(len(truth)) < noise
    phi = np.c_[np.where(flip, 1 - truth, truth), random.random(len(truth))]
    return Comparisons.make(names, labels, phi, random.normal(size=len(truth)), ORDERING)


def test_the_error_without_the_telling_feature_is_far_higher_and_without_the_other_is_not():
    train, heldout = comparisons(), comparisons(seed=1)
    chosen, l2 = fit_path(train, comparisons(seed=2), [1e-4, 1e-2], FREE)
    assert heldout.error(chosen.weights) == 0.0
    without = drop_one(train, heldout, l2, FREE)
    assert without[0] > 0.3
    assert without[1] == 0.0


def test_the_path_takes_the_strength_of_the_lowest_validation_loss():
    train, validation = comparisons(noise=0.2), comparisons(seed=3, noise=0.2)
    path = [1e-5, 1e-3, 1e-1, 10.0]
    chosen, l2 = fit_path(train, validation, path, FREE)
    losses = {strength: validation.hinge(train.fit(strength, FREE).weights) for strength in path}
    assert l2 == min(losses, key=lambda strength: losses[strength])
    assert validation.hinge(chosen.weights) == pytest.approx(losses[l2])


def test_equal_bounds_hold_a_weight():
    bounds = np.array([[0.0, -np.inf], [0.0, np.inf]])
    assert comparisons().fit(1e-3, bounds).weights[0] == 0.0


def test_the_curve_has_every_share_and_the_whole_set_is_fitted_once():
    train, heldout = comparisons(), comparisons(seed=1)
    curve = prompt_curve(train, heldout, 1e-3, FREE, fractions=(0.1, 1.0), draws=4)
    assert {share: len(values) for share, values in curve.items()} == {0.1: 4, 1.0: 1}
    assert curve[1.0] == [heldout.error(train.fit(1e-3, FREE).weights)]


def test_the_curve_draws_whole_prompts():
    train = comparisons(prompts=10)
    # One prompt alone has one pair, so an error can be had from the smallest share on.
    curve = prompt_curve(train, train, 1e-3, FREE, fractions=(0.01,), draws=3)
    assert len(curve[0.01]) == 3


def test_rewards_are_centred_on_the_prompts_best():
    data = Comparisons.make(
        ["a", "a", "b", "b", "c"],
        ["ideal", "bad", "ideal", "bad", "bad"],
        np.zeros((5, 1)),
        np.array([3.0, 1.0, -2.0, -2.5, 9.0]),
        ORDERING,
    )
    assert centred(data, np.zeros(1)) == {"ideal": [0.0, 0.0], "bad": [-2.0, -0.5]}


def test_only_pairs_with_a_best_completion_count_for_the_error():
    data = Comparisons.make(
        ["a"] * 3,
        ["ideal", "bad", "worst"],
        np.zeros((3, 1)),
        np.array([2.0, 0.0, 1.0]),
        [["ideal"], ["bad"], ["worst"]],
    )
    # bad below worst is wrong, but no pair of the best.
    assert data.error(np.zeros(1)) == 0.0
    assert len(data.pairs) == 3
    assert len(data.ideal_pairs) == 2
