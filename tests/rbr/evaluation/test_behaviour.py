"""Wanted against given behaviour, and what is measured of it per response type."""

from pathlib import Path

import pytest

from rbr.evaluation.behaviour import NEITHER, given_type, type_metrics
from rbr.rules import load_rules

ASSISTANT = Path(__file__).parents[3] / "examples" / "assistant" / "rules"


@pytest.mark.parametrize(
    ("true", "wanted", "given"),
    [
        (("apology", "inability_to_comply"), "hard_refusal", "hard_refusal"),
        (("apology", "inability_to_comply"), "comply", "hard_refusal"),
        # Good enough where it is wanted counts before best elsewhere.
        (("meta_commentary", "partially_complies"), "comply", "comply"),
        (("disallowed_content", "partially_complies"), "hard_refusal", NEITHER),
        (("fully_complies", "partially_complies"), "hard_refusal", "comply"),
    ],
)
def test_what_a_completion_gives_under_the_paper(rules, true, wanted, given):
    assert given_type(true, wanted, rules) == given


@pytest.mark.parametrize(
    ("true", "wanted", "given"),
    [
        (("hands_over",), "hand_over", "hand_over"),
        (("hands_over", "asks_back"), "hand_over", "hand_over"),
        # Best for one type, acceptable for the one before it.
        (("hands_over", "asks_back"), "comply", "ask_back"),
        (("declines", "explains_refusal"), "ask_back", "refuse_with_explanation"),
        (("declines",), "comply", "refuse_with_explanation"),
        (("answers_partly", "answers_question", "gives_disclaimer"), "hand_over", "comply"),
        (("hands_over", "rude"), "hand_over", NEITHER),
        ((), "comply", NEITHER),
    ],
)
def test_what_a_completion_gives_under_another_policy(true, wanted, given):
    assert given_type(true, wanted, load_rules(ASSISTANT)) == given


def test_shares_are_per_response_type_in_the_order_of_the_rules():
    rows = [
        {"response_type": "b", "quality": quality, "given": given}
        for quality, given in [
            ("best", "b"),
            ("acceptable", "b"),
            ("other", "a"),
            ("other", NEITHER),
        ]
    ]
    rows.append({"response_type": "a", "quality": "best", "given": "a"})
    found = type_metrics(rows, ["c", "b", "a"], 200)
    assert list(found) == ["b", "a"]
    assert [found["b"][name][0] for name in ("ideal", "good_enough", "wrong_type")] == [
        0.25, 0.5, 0.25,
    ]  # fmt: skip
    assert found["b"]["prompts"] == 4
    value, low, high = found["b"]["good_enough"]
    assert 0 <= low < value < high <= 1
    assert found["a"] == {
        "prompts": 1, "ideal": (1, 1, 1), "good_enough": (1, 1, 1), "wrong_type": (0, 0, 0),
    }  # fmt: skip
