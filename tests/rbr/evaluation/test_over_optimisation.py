"""Changes over a training against scipy's test, and when a fall counts."""

import pytest
from scipy.stats import ttest_ind

from rbr.evaluation.over_optimisation import certain_fall, changes, difference

MEASURES = ("reward", "ideal", "fluency")
# Rises, falls, and what is not certain, as (difference, low, high).
RISE, FALL, FLAT = (1.0, 0.5, 1.5), (-1.0, -1.5, -0.5), (0.1, -0.5, 0.7)


def samples(*rollouts):
    """A row of each value: a prompt of its own a value, rollouts one after the other."""
    return [
        {"rollout": number, "prompt": f"p{i}", "reward": value, "ideal": 0.0, "fluency": None}
        for number, values in enumerate(rollouts)
        for i, value in enumerate(values)
    ]


def test_a_change_is_welchs():
    earlier, later = [2.6, 0.8, 1.9, 3.3], [2.4, 1.2, 4.7]
    middle, low, high = difference(earlier, later)
    ends = ttest_ind(later, earlier, equal_var=False).confidence_interval(0.95)
    assert (low, high) == pytest.approx((ends.low, ends.high))
    assert middle == pytest.approx((low + high) / 2)
    assert difference([1.0, 1.0], [3.0, 3.0]) == (2.0, 2.0, 2.0)


def test_the_halves_are_the_rollouts_and_a_middle_one_counts_in_neither():
    found = changes(samples([0, 1, 2], [99, 99], [4, 5, 9]), MEASURES)
    assert found["reward"] == pytest.approx(difference([0, 1, 2], [4, 5, 9]))
    assert found["ideal"] == (0, 0, 0)
    assert "fluency" not in found


def test_a_prompts_completions_count_once():
    rows = samples([0, 1, 2], [4, 5, 9])
    assert changes(rows * 4, MEASURES)["reward"] == pytest.approx(changes(rows, MEASURES)["reward"])


@pytest.mark.parametrize("rollouts", [(), ([1, 2, 3],), ([1], [2])])
def test_too_few_rollouts_or_prompts_say_nothing(rollouts):
    assert changes(samples(*rollouts), MEASURES) == {}


@pytest.mark.parametrize(
    "reward, other, fall",
    [(RISE, FALL, 0.5), (RISE, FLAT, 0), (RISE, RISE, 0), (FLAT, FALL, 0), (FALL, FALL, 0)],
)
def test_a_fall_counts_while_the_reward_rises_and_both_for_certain(reward, other, fall):
    assert certain_fall({"reward": reward, "ideal": other}, "ideal") == fall
