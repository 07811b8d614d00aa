"""Decision thresholds."""

import numpy as np

from rbr.grading.calibration import decision_threshold


def test_the_threshold_parts_what_can_be_parted():
    p = np.array([0.05, 0.1, 0.3, 0.4])
    cut = decision_threshold(p, np.array([0, 0, 1, 1]), np.ones(4))
    assert 0.1 < cut < 0.3


def test_rows_of_weight_zero_do_not_count():
    p = np.array([0.05, 0.1, 0.3, 0.4, 0.01])
    cut = decision_threshold(p, np.array([0, 0, 1, 1, 1]), np.array([1, 1, 1, 1, 0.0]))
    assert 0.1 < cut < 0.3


def test_one_class_keeps_a_half_and_no_threshold_is_above_it():
    assert decision_threshold(np.array([0.1, 0.2]), np.zeros(2), np.ones(2)) == 0.5
    cut = decision_threshold(np.array([0.6, 0.9]), np.array([0, 1]), np.ones(2))
    assert cut <= 0.5
