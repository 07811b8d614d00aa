"""What completions of a label should have, where no recipe says it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rbr.comparisons.wanted import drawn_labels, label_errors
from rbr.data.rows import label_matrix
from rbr.errors import RuleError
from rbr.rules import load_rules
from rbr.rules.algebra import class_scores

GERMAN = Path(__file__).parents[2] / "policies" / "german" / "rules"


@pytest.fixture(params=["paper", "german"])
def policy(request, rules):
    return rules if request.param == "paper" else load_rules(GERMAN)


def classes(rules, kind, sets):
    scores = class_scores(label_matrix(sets, rules.proposition_names), rules, kind)
    return {rules.class_names(kind)[i] for i in scores.argmax(1)}


def test_each_labels_sets_are_of_its_classes_and_consistent(policy):
    for kind in policy.response_types:
        found = drawn_labels(policy, kind, seed=0)
        assert list(found) == list(policy.reward[kind].labels)
        for label, sets in found.items():
            assert classes(policy, kind, sets) <= set(policy.reward[kind].labels[label])
            assert len(set(sets)) == len(sets)
            for true in sets:
                assert policy.relations.contradiction(true) is None
                assert set(true) <= set(policy.proposition_names)


def test_bad_ones_are_bad_in_many_ways_and_near_what_is_wanted(rules):
    found = drawn_labels(rules, "hard_refusal", seed=0)
    assert found["ideal"] and all(
        {"apology", "inability_to_comply"} <= set(true) for true in found["ideal"]
    )
    assert len(found["bad"]) > 50
    flawed = [true for true in found["bad"] if {"apology", "inability_to_comply"} <= set(true)]
    assert len(flawed) > 10
    assert {n for true in found["bad"] for n in true} >= {"judgement", "requests_information"}


def test_disallowed_content_stands_where_the_label_is_nothing_else(rules):
    found = drawn_labels(rules, "hard_refusal", seed=0)
    assert all("disallowed_content" in true for true in found["disallowed"])
    assert not any("disallowed_content" in t for n in ("ideal", "bad") for t in found[n])
    assert not any(
        "disallowed_content" in t
        for sets in drawn_labels(rules, "comply", 0).values()
        for t in sets
    )


def test_labels_of_the_same_classes_differ_in_how_far_they_answer(rules):
    found = drawn_labels(rules, "comply", seed=0)
    assert all("fully_complies" in true for true in found["full"])
    assert all(
        "partially_complies" in true and "fully_complies" not in true for true in found["partial"]
    )
    assert all("illogical_continuation_of_prompt" in true for true in found["off_topic"])


def test_a_seed_draws_the_same(rules):
    assert drawn_labels(rules, "comply", 1) == drawn_labels(rules, "comply", 1)
    one, other = (drawn_labels(rules, "hard_refusal", seed)["bad"] for seed in (1, 2))
    assert one != other


def test_a_label_that_nothing_tells_apart_is_an_error_that_names_it(rules):
    rule = rules.reward["comply"]
    labels = {**rule.labels, "third": rule.labels["full"]}
    ordering = (*rule.ordering, ("third",))
    reward = {
        **rules.reward,
        "comply": rule.model_copy(update={"labels": labels, "ordering": ordering}),
    }
    with pytest.raises(RuleError, match="completion 'third' of 'comply'"):
        drawn_labels(replace(rules, reward=reward), "comply", 0)


def own_labels(tmp_path, old, new):
    """The German policy, which has no recipes, with other labels."""
    folder = Path(shutil.copytree(GERMAN, tmp_path / "rules"))
    path = folder / "reward.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return folder, load_rules(folder)


def test_a_check_names_the_line_of_a_label_that_nothing_can_be_of(tmp_path):
    old = "    unnuetz: [schlecht]\n  ordering: [[bestens], [unnuetz]]"
    new = "    unnuetz: [schlecht]\n    dritte: [schlecht]\n  ordering: [[bestens], [unnuetz], [dritte]]"
    folder, own = own_labels(tmp_path, old, new)
    lines = (folder / "reward.yaml").read_text().splitlines()
    told = [str(error) for error in label_errors(folder, own, seed=0)]
    assert [one.split(" completion ")[1].split(":")[0] for one in told] == [
        "'unnuetz' of 'antworten'",
        "'dritte' of 'antworten'",
    ]
    number = lines.index("    unnuetz: [schlecht]") + 1
    assert told[0].startswith(f"{folder / 'reward.yaml'}:{number}:5: no combination of prop")
    assert told[0].endswith("a class of its own in reward.yaml, or recipes in completions.yaml")


def test_labels_of_recipes_and_those_of_sound_policies_pass(tmp_path, root, rules):
    folder, own = own_labels(tmp_path, "bestens", "trefflich")
    assert list(label_errors(folder, own, seed=0)) == []
    # The paper's has recipes for all: nothing is drawn for them.
    assert list(label_errors(root / "rules", rules, seed=0)) == []
