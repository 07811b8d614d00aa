"""Calibration and decision thresholds."""

import numpy as np

from rbr.grading.calibration import (
    USUAL_THRESHOLD,
    calibrations,
    decision_threshold,
    platt,
    sigmoid,
)


def apart(times):
    """Probabilities that part at 0.1, with so many rows of each."""
    return np.repeat([0.04, 0.06, 0.14, 0.2], times), np.repeat([0, 0, 1, 1], times)


def test_the_threshold_parts_what_can_be_parted_where_there_are_many_rows():
    p, yes = apart(200)
    assert 0.06 < decision_threshold(p, yes) < 0.14


def test_on_few_positives_the_threshold_stays_near_the_usual_one():
    cuts = [decision_threshold(*apart(n)) for n in (1, 10, 200)]
    assert USUAL_THRESHOLD > cuts[0] > cuts[1] > cuts[2]
    assert USUAL_THRESHOLD - cuts[0] < 0.03


def test_one_class_gets_the_usual_threshold_and_no_threshold_is_above_a_half():
    assert decision_threshold(np.array([0.1, 0.2]), np.zeros(2)) == USUAL_THRESHOLD
    cut = decision_threshold(np.array([0.6, 0.9]), np.array([0, 1]))
    assert cut <= 0.5


def test_a_proposition_that_is_never_true_is_calibrated_as_all_are():
    random = np.random.default_rng(0)
    scores = random.normal(size=(300, 2)) * 4
    labels = np.stack([random.random(300) < 1 / (1 + np.exp(-scores[:, 0])), np.zeros(300)], 1)
    slope, offset = calibrations(scores, labels.astype(float))
    together = platt(scores.ravel(), labels.ravel().astype(float))
    assert (slope[1], offset[1]) == together


def test_scores_that_fall_where_the_labels_rise_give_the_base_rate():
    scores = np.array([9, 10, 11, 12, 9.5, 10.5, 11.5, 8.5])
    labels = np.array([1, 1, 0, 0, 1, 0, 0, 1.0])
    slope, offset = platt(scores, labels)
    np.testing.assert_allclose(sigmoid(slope * scores + offset), 0.5)
