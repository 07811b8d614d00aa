"""PPO's gain, as its gate takes it."""

import pytest
from scipy.stats import ttest_ind

from orchestration.gates.suites.training import gain


def test_the_gain_is_that_of_the_halves():
    assert gain([1.5, 0.5, 1.0, 1.25])[0] == pytest.approx(0.125)
    assert gain([9.0, 0.0, 1.0, 0.0, 1.0])[0] == pytest.approx((0 + 1) / 2 - 9 / 2)
    assert gain([3.0]) == (0.0, 0.0)


def test_the_gains_upper_end_is_welchs():
    earlier, later = [2.6, 0.8, 1.9, 3.3], [2.4, 1.2, 1.7, 2.2]
    found = ttest_ind(later, earlier, equal_var=False)
    error = gain([*earlier, *later])[0] / found.statistic
    assert gain([*earlier, *later])[1] == pytest.approx(gain([*earlier, *later])[0] + 1.96 * error)
    # Falling by chance passes, falling for certain does not.
    assert gain([*earlier, *later])[1] > 0
    assert gain([9.0, 9.1, 9.2, 1.0, 1.1, 0.9])[1] < 0
