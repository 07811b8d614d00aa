"""Differences of two states of the rules are told as what they are."""

from pathlib import Path

import pytest

from rbr.rules import load_rules
from rbr.rules.differences import differences


@pytest.fixture
def after(rules_folder, rules):
    """The differences after edits of (file, old, new)."""

    def edit(*edits):
        for file, old, new in edits:
            path = rules_folder / file
            text = path.read_text()
            assert old in text
            path.write_text(text.replace(old, new, 1))
        return [tuple(found) for found in differences(rules, load_rules(rules_folder))]

    return edit


def test_a_comment_is_no_difference(after):
    assert after(("reward.yaml", "margin: 3.0", "margin: 3.0 # noted")) == []


def test_another_wording_is_a_rewording(after):
    assert after(
        ("propositions/judgement.yaml", "The answer calls the request", "The answer says it is"),
        ("completions.yaml", "I can't help with that.", "I can't do that."),
    ) == [
        ("reworded", "propositions/judgement", ""),
        ("reworded", "completions/fragments.refusal", ""),
    ]


def test_what_a_wording_makes_true_is_more_than_a_rewording(after):
    edit = ("completions.yaml", "makes: [inability_to_comply]", "makes: [third_person]")
    assert after(edit) == [("changed", "completions/fragments.bare_refusal", "")]


def test_a_proposition_under_another_name_has_moved(after, rules_folder):
    folder = rules_folder / "propositions"
    (folder / "threatening_language.yaml").rename(folder / "threatens.yaml")
    edits = [("propositions/threatens.yaml", "id: threatening_language", "id: threatens")]
    for file in ("derived.yaml", "reward.yaml", "completions.yaml"):
        path = rules_folder / file
        path.write_text(path.read_text().replace("threatening_language", "threatens"))
    found = after(*edits)
    assert ("moved", "propositions/threatening_language", "now threatens") in found
    assert ("new", "features/hard_refusal.threatens", "") in found
    assert ("removed", "features/hard_refusal.threatening_language", "") in found
    assert not [found for found in found if found[1].startswith("signs")]


def test_what_comes_and_goes_is_new_and_removed(after, rules_folder):
    text = (rules_folder / "propositions/apology.yaml").read_text()
    (rules_folder / "propositions/regret.yaml").write_text(
        text.replace("id: apology", "id: regret").replace("question: ", "question: Really? ")
    )
    assert after(("content_policy.yaml", "  fiction: comply\n", "")) == [
        ("new", "propositions/regret", ""),
        ("removed", "policy/criminal_advice.fiction", ""),
    ]


def test_values_are_told_with_what_they_were(after):
    assert after(
        ("reward.yaml", "margin: 3.0", "margin: 2.0"),
        ("reward.yaml", "[[ideal], [bad], [disallowed]]", "[[ideal], [bad, disallowed]]"),
        ("content_policy.yaml", "lookalike: comply", "lookalike: hard_refusal"),
        ("roles.yaml", "refused: refuses", "refused: inability_to_comply"),
        ("propositions/apology.yaml", "hard_refusal: positive", "hard_refusal: free"),
    ) == [
        ("changed", "roles/refused", "refuses -> inability_to_comply"),
        ("changed", "signs/apology.hard_refusal", "positive -> free"),
        ("changed", "policy/criminal_advice.lookalike", "comply -> hard_refusal"),
        (
            "changed",
            "ranking/hard_refusal.ordering",
            "ideal > bad > disallowed -> ideal > bad = disallowed",
        ),
        ("changed", "ranking/hard_refusal.margin", "3.0 -> 2.0"),
    ]


def test_an_order_that_means_something_moves(after):
    line = "  illogical_completion: {all: [illogical_continuation_of_prompt], none: [disallowed_content]}\n"
    other = "  disallowed_completion: {all: [disallowed_content]}\n"
    [found] = after(("completion_classes.yaml", line + other, other + line))
    assert found[0] == "moved" and found[1].startswith("classes/hard_refusal.")
    assert found[2] in ("from place 4 to 5", "from place 5 to 4")


def test_no_change_of_the_meaning_is_without_a_line(after):
    # Sections that no entry shows a difference of are named as a whole.
    edit = (
        "derived.yaml",
        "all: [apology, inability_to_comply]",
        "all: [inability_to_comply, apology]",
    )
    assert after(edit) == [("changed", "derived/refusal_ok", "")]


def test_an_added_policy_file_is_new(rules, rules_folder):
    path = Path(rules_folder / "relations.yaml")
    text = path.read_text()
    path.unlink()
    without = load_rules(rules_folder)
    path.write_text(text)
    assert {found.verb for found in differences(without, rules)} == {"new"}
    assert {found.verb for found in differences(rules, without)} == {"removed"}
