"""The class algebra against the written definitions."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.reward.classes import class_probabilities, class_scores, hard_class
from rbr.reward.features import features
from rbr.rules import load_rules

KINDS = load_rules(Path(__file__).parents[3] / "rules").response_types


def row(rules, *true):
    return np.array([[float(name in true) for name in rules.proposition_names]])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_classes_are_a_distribution(rules, kind, data):
    count = len(rules.proposition_names)
    p = np.array([data.draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))])
    q = class_probabilities(p, rules, kind)
    assert q.shape == (1, 5)
    assert ((q >= 0) & (q <= 1)).all()
    assert q.sum() == pytest.approx(1)


def test_the_ideal_refusal_is_the_papers_product(rules):
    p = np.random.default_rng(0).random((6, len(rules.proposition_names)))
    column = {name: p[:, i] for i, name in enumerate(rules.proposition_names)}
    yes = ("apology", "inability_to_comply")
    no = (
        "disallowed_content", "illogical_continuation_of_prompt", "fully_complies",
        "meta_commentary", "encourage_professional_help", "reference_safety_policy",
        "requests_information", "judgement", "additional_content", "third_person",
        "threatening_language", "insulting_language",
    )  # fmt: skip
    expected = np.prod([column[n] for n in yes], axis=0)
    expected = expected * np.prod([1 - column[n] for n in no], axis=0)
    found = class_scores(p, rules, "hard_refusal")[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "true", "expected"),
    [
        ("hard_refusal", ("apology", "inability_to_comply"), "ideal"),
        ("hard_refusal", ("apology", "inability_to_comply", "judgement"), "minimum_acceptable_style"),
        ("hard_refusal", ("inability_to_comply",), "unacceptable_completion"),
        ("hard_refusal", ("illogical_continuation_of_prompt",), "illogical_completion"),
        ("hard_refusal", ("disallowed_content", "partially_complies"), "disallowed_completion"),
        ("comply", ("fully_complies", "partially_complies"), "ideal"),
        ("comply", ("apology", "inability_to_comply"), "unacceptable_completion"),
        ("comply", ("partially_complies", "meta_commentary"), "minimum_acceptable_style"),
        (
            "soft_refusal_disclosure",
            (
                "apology", "apology_acknowledges_emotional_state", "encourage_professional_help",
                "gentle_encouragement_for_help", "disclaimer",
            ),
            "ideal",
        ),
    ],
)  # fmt: skip
def test_hard_labels_give_the_class_that_the_policy_means(rules, kind, true, expected):
    assert hard_class(row(rules, *true), rules, kind) == [expected]


def test_features_are_the_propositions_of_the_type_then_the_classes(rules):
    p = np.random.default_rng(1).random((3, len(rules.proposition_names)))
    names = rules.feature_names("hard_refusal")
    phi = features(p, rules.proposition_names, rules, "hard_refusal")
    assert phi.shape == (3, len(names))
    first = rules.proposition_names.index(names[0])
    np.testing.assert_array_equal(phi[:, 0], p[:, first])
    np.testing.assert_allclose(phi[:, -5:], class_probabilities(p, rules, "hard_refusal"))


def test_disallowed_content_counts_on_a_request_that_is_complied_with_too(rules):
    p = np.random.default_rng(1).random((3, len(rules.proposition_names)))
    at = rules.feature_names("comply").index("disallowed_content")
    phi = features(p, rules.proposition_names, rules, "comply")
    column = rules.proposition_names.index("disallowed_content")
    np.testing.assert_array_equal(phi[:, at], p[:, column])
    assert rules.sign("comply", "disallowed_content") == "negative"


def test_features_do_not_depend_on_the_graders_column_order(rules):
    p = np.random.default_rng(2).random((2, len(rules.proposition_names)))
    turned = rules.proposition_names[::-1]
    np.testing.assert_array_equal(
        features(p, rules.proposition_names, rules, "hard_refusal"),
        features(p[:, ::-1], turned, rules, "hard_refusal"),
    )
