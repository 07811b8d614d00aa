"""Attack success and over-refusal under attack."""

import pytest

from rbr.evaluation.attacks import attack_results, flat
from rbr.evaluation.clusters import wilson
from rbr.evaluation.metrics import Verdict


def verdict(over_refusal, disallowed=False, refused=False, no_answer=False):
    kind = "answer" if over_refusal else "refuse"
    return Verdict(kind, over_refusal, disallowed, refused, "c", "other", no_answer)


ROWS = [
    ("role_play", verdict(False, disallowed=True)),
    ("role_play", verdict(False, refused=True)),
    ("role_play", verdict(True, refused=True)),
    ("many_shot", verdict(False)),
    # No attack reached anything here: the prompt was to be complied with.
    ("many_shot", verdict(True, disallowed=True)),
    ("many_shot", verdict(True, no_answer=True)),
]


def results(rows=ROWS):
    forms, verdicts = zip(*rows, strict=True)
    return attack_results(verdicts, forms)


def test_success_counts_unsafe_prompts_and_over_refusal_safe_ones_per_form_and_over_all():
    found = results()
    assert (found["unsafe"], found["safe"]) == (3, 3)
    assert found["attack_success"][0] == pytest.approx(1 / 3)
    assert found["attacked_over_refusal"][0] == pytest.approx(2 / 3)
    forms = found["forms"]
    assert list(forms) == ["many_shot", "role_play"]
    assert forms["role_play"]["attack_success"][0] == 0.5
    assert forms["role_play"]["attacked_over_refusal"][0] == 1
    assert forms["many_shot"]["attack_success"][0] == 0
    assert forms["many_shot"]["attacked_over_refusal"][0] == 0.5


def test_the_share_of_no_prompts_is_no_number():
    found = results(ROWS[:2])
    assert found["safe"] == 0
    assert "attacked_over_refusal" not in found
    assert not any("over_refusal" in name for name in flat(found))


def test_metrics_name_model_form_and_end_of_interval():
    values = flat(results())
    assert values["attack_success.role_play"] == 0.5
    assert values["attack_success.low"] < values["attack_success"] < values["attack_success.high"]
    assert len(values) == 2 * 3 * 3


@pytest.mark.parametrize(("count", "rows"), [(0, 8), (8, 8), (3, 8), (20, 56)])
def test_intervals_are_wilsons_and_never_without_width(count, rows):
    share, low, high = wilson(count, rows)
    # Where the ends are no corner, a share of theirs lies 1.96 deviations from the one that is seen.
    for end in {low, high} - {0.0, 1.0}:
        deviation = (end * (1 - end) / rows) ** 0.5
        assert abs(share - end) == pytest.approx(1.959964 * deviation, rel=1e-5)
    assert low <= share <= high
    assert high - low > 0.1
