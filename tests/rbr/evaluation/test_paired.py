"""Two models on the same prompts."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from rbr.errors import DataError
from rbr.evaluation.metrics import Verdict
from rbr.evaluation.paired import compare, share_change


def unsafe(disallowed, name="ideal"):
    return Verdict("hard_refusal", False, disallowed, False, name, "best")


def comply(refused, disallowed=False):
    return Verdict("comply", True, disallowed, refused, "ideal", "best")


FIRST = [unsafe(False)] * 10 + [comply(False)] * 8 + [comply(True)] * 2
SECOND = [unsafe(True)] * 7 + [unsafe(False)] * 3 + [comply(False)] * 10


def test_differences_and_counts_by_hand():
    found = compare(FIRST, SECOND, 500)
    safety = found["not_unsafe"]
    assert safety.value == pytest.approx(0.7)
    assert (safety.only_first, safety.only_second) == (7, 0)
    # Seven of seven on one side, two-sided.
    assert safety.p_value == pytest.approx(2 * binom.pmf(7, 7, 0.5))
    assert safety.verdict == "better"
    answers = found["not_overrefuse"]
    assert answers.value == pytest.approx(-0.2)
    assert (answers.only_first, answers.only_second) == (0, 2)
    assert found["f1_star"].value == pytest.approx(2 * 1.0 * 0.8 / 1.8 - 2 * 0.3 * 1.0 / 1.3)
    # Of two equal models any one sees as large a gap with the seven the one way or the other.
    assert found["f1_star"].p_value == pytest.approx(2 / 2**7)
    assert found["f1_star"].only_first is None


def test_a_model_against_itself_is_a_tie_and_the_other_way_round_the_sign_turns():
    for difference in compare(FIRST, FIRST, 200).values():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)
        assert difference.verdict == "tie"
    one, other = compare(FIRST, SECOND, 300), compare(SECOND, FIRST, 300)
    for name in one:
        assert one[name].value == pytest.approx(-other[name].value)
        assert one[name].low == pytest.approx(-other[name].high)


def test_pairing_narrows_the_interval_where_the_models_agree():
    random = np.random.default_rng(0)
    hard = random.random(200) < 0.5
    first = [unsafe(bool(h)) for h in hard] + [comply(False)]
    second = [unsafe(bool(h) or i < 5) for i, h in enumerate(hard)] + [comply(False)]
    found = compare(first, second, 1000)["not_unsafe"]
    # Two unpaired shares of 200 rows near 0.5 would differ by 0.2 from end to end.
    assert found.high - found.low < 0.06


def test_less_harm_is_better():
    found = compare([comply(False)] * 20, [comply(False, disallowed=True)] * 20, 200)
    harm = found["harm_on_comply"]
    assert (harm.value, harm.only_first, harm.verdict) == (-1, 20, "better")


def test_other_prompts_are_refused():
    with pytest.raises(DataError, match="same prompts"):
        compare(FIRST, FIRST[:-1])


def test_the_change_of_a_share_is_of_the_items_on_which_two_models_differ():
    before = [True] * 6 + [False] * 4
    after = [True] * 3 + [False] * 3 + [True] * 1 + [False] * 3
    change, low, high = share_change(before, after)
    assert change == pytest.approx(-0.2)
    assert low < change < high
    assert share_change(before, before)[0] == 0
    with pytest.raises(DataError, match="same items"):
        share_change(before, after[1:])


@pytest.mark.parametrize("gained, lost", [(0.02, 0.07), (0.05, 0.05), (0.0, 0.01)])
def test_the_interval_of_a_change_holds_the_truth_about_19_times_in_20(gained, lost):
    """And of 300 items, a fall of 5 points where the models differ on 9 % of them is mostly seen."""
    draw, held, seen = np.random.default_rng(0), 0, 0
    for _ in range(1000):
        kind = draw.choice(4, 300, p=[gained, lost, 0.5, 0.5 - gained - lost])
        _, low, high = share_change((kind % 2 == 1).tolist(), np.isin(kind, (0, 3)).tolist())
        held += low <= gained - lost <= high
        seen += high < 0
    assert 0.93 <= held / 1000 <= 1.0
    if (gained, lost) == (0.02, 0.07):
        assert seen / 1000 >= 0.8


def of_families(rows, size):
    return [replace(row, family=f"f{place // size}") for place, row in enumerate(rows)]


def test_families_of_like_prompts_widen_the_interval_and_weaken_the_test():
    random = np.random.default_rng(1)
    worse = np.repeat(random.random(20) < 0.3, 5)
    first = [unsafe(False)] * 100 + [comply(False)] * 20
    second = [unsafe(bool(w)) for w in worse] + [comply(False)] * 20
    alone = compare(first, second)["not_unsafe"]
    alike = compare(of_families(first, 5), of_families(second, 5))["not_unsafe"]
    assert alike.value == alone.value > 0
    assert alike.high - alike.low > 1.5 * (alone.high - alone.low)
    assert alike.p_value > 10 * alone.p_value
    assert alike.detectable > 1.5 * alone.detectable
    assert alike.only_first == alone.only_first == int(worse.sum())


def test_rows_of_a_former_version_take_the_families_of_the_new_ones():
    named = of_families(FIRST, 5)
    assert repr(compare(named, SECOND)) == repr(compare(named, of_families(SECOND, 5)))


def test_models_that_do_not_differ_show_no_power():
    assert math.isnan(compare(FIRST, FIRST)["f1_star"].detectable)


def test_a_difference_as_large_as_the_power_line_says_is_seen_four_times_in_five():
    random = np.random.default_rng(2)
    size, families, runs = 4, 60, 120

    def models(gap):
        own = np.repeat(random.beta(2, 2, families), size)
        worse = [unsafe(bool(random.random() < share)) for share in np.minimum(own + gap, 1)]
        better = [unsafe(bool(random.random() < share)) for share in own]
        return of_families(better, size), of_families(worse, size)

    gap = compare(*models(0.1))["not_unsafe"].detectable
    found = [compare(*models(gap), bootstrap=300)["not_unsafe"] for _ in range(runs)]
    assert 0.65 <= np.mean([f.p_value < 0.05 for f in found]) <= 0.92
    assert np.mean([f.verdict == "better" for f in found]) == pytest.approx(
        np.mean([f.p_value < 0.05 for f in found]), abs=0.06
    )
