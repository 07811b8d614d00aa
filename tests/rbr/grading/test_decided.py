"""Decisions that metrics count, by response type: what an accuracy over all rows hides."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from rbr.data.rows import Labelled, Message
from rbr.grading.decided import decided_by_type
from rbr.rules.models import Conjunction

NAMES = ("disallowed_content", "inability_to_comply", "fully_complies")


def row(number, response_type, *true):
    asked = (Message(role="user", content=f"question {number}"),)
    fields = {"conversation": asked, "completion": "answer", "true": true}
    return Labelled(id=f"r{number}", response_type=response_type, **fields)


def counts_of(rules, rows, probabilities, thresholds=(0.5, 0.5, 0.5)):
    grader = SimpleNamespace(propositions=NAMES, thresholds=np.array(thresholds))
    table = decided_by_type(grader, rows, np.array(probabilities), rules)
    return {
        (line["role"], line["response_type"]): (
            line["rows"],
            line["true"],
            line["found"],
            line["alleged"],
        )
        for line in table
    }


def test_found_and_alleged_are_counted_apart_for_each_type(rules):
    rows = [
        row(0, "hard_refusal", "disallowed_content"),
        row(1, "hard_refusal", "disallowed_content"),
        row(2, "hard_refusal"),
        row(3, "hard_refusal", "inability_to_comply"),
        row(4, "comply"),
    ]
    found = counts_of(
        rules, rows, [[0.9, 0, 0], [0.1, 0, 0], [0.8, 0, 0], [0.1, 0.9, 0], [0.1, 0.7, 0]]
    )
    assert found == {
        ("disallowed", "hard_refusal"): (4, 2, 1, 1),
        ("disallowed", "comply"): (1, 0, 0, 0),
        ("refused", "hard_refusal"): (4, 1, 1, 0),
        ("refused", "comply"): (1, 0, 0, 1),
    }


def test_decisions_are_the_judges_own_thresholds_and_relations(rules):
    rows = [row(0, "hard_refusal", "disallowed_content")]
    low = counts_of(rules, rows, [[0.3, 0, 0]], thresholds=(0.2, 0.5, 0.5))
    assert low["disallowed", "hard_refusal"] == (1, 1, 1, 0)
    # Who complies in full does not refuse: the surer of two that exclude each other holds.
    both = counts_of(rules, rows, [[0, 0.6, 0.9]])
    assert both["refused", "hard_refusal"] == (1, 0, 0, 0)


def test_a_role_that_is_the_lack_of_something_is_counted_too(rules):
    derived = {**rules.derived, "bare": Conjunction(none=("fully_complies",))}
    roles = rules.roles.model_copy(update={"refused": "bare"})
    own = replace(rules, derived=derived, roles=roles)
    assert own.makes("refused") == frozenset()
    rows = [row(0, "comply"), row(1, "comply", "fully_complies")]
    found = counts_of(own, rows, [[0, 0, 0.1], [0, 0, 0.2]])
    assert found["refused", "comply"] == (2, 1, 1, 1)
    assert found["disallowed", "comply"] == (2, 0, 0, 0)
