"""Sentences that texts share, whatever topic they name; and that roles share none."""

import random

from rbr.comparisons.compose import HELDOUT_EVERY, compose, labels_of, wordings
from rbr.data.rows import Labelled
from rbr.data.wordings import Wordings, composed_wordings
from rbr.files import read_rows
from tests.rbr.comparisons.prompts import prompt


def test_a_wording_is_found_with_any_topic_and_in_any_layout():
    found = Wordings(["I can't help with {topic}, I'm afraid.", "Sure!"])
    assert found.in_text("Hello there.\n- I CAN'T help with a very long topic; I'm afraid!")
    assert not found.in_text("I can't help you, I'm afraid.")
    assert not found.in_text("Sure!")
    assert not Wordings([]).in_text("I can't help with that, I'm afraid.")


def test_held_out_completions_share_no_wording_with_those_of_train(rules):
    draw, others = random.Random(0), [prompt("comply", n) for n in range(1, 6)]
    texts = {
        heldout: {
            text for f in rules.completions.fragments.values() for text in wordings(f, heldout)
        }
        for heldout in (False, True)
    }
    for heldout in (False, True):
        unseen = Wordings(texts[not heldout] - {"Sure!"})
        own = 0
        for kind in rules.response_types:
            for label in labels_of(rules, kind):
                for _ in range(30):
                    made = compose(prompt(kind), label, rules, others, draw, heldout=heldout)
                    assert not unseen.in_text(made.completion), made.completion
                    own += bool(Wordings(texts[heldout]).in_text(made.completion))
        assert own > 100


def test_every_fragment_has_wordings_of_both_kinds(rules):
    for name, fragment in rules.completions.fragments.items():
        assert len(fragment.texts) >= HELDOUT_EVERY, name


def test_hardly_any_gold_row_has_a_composed_wording(root, rules):
    """What is shared is what everybody says: "I'm sorry, but I can't help with that."."""
    composed = composed_wordings(rules)
    gold = read_rows(root / "data" / "source" / "gold", Labelled)
    shared = [row.id for row in gold if composed.in_text(row.completion)]
    assert len(shared) < 0.03 * len(gold), shared
