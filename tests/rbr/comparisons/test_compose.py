"""Composed completions fall in the class that their label says."""

import random

import numpy as np

from rbr.comparisons.compose import compose, labels_of
from rbr.reward.classes import hard_class
from tests.rbr.comparisons.prompts import prompt


def test_each_label_falls_in_its_class(rules):
    others = [prompt("comply", n) for n in range(1, 6)]
    draw = random.Random(0)
    pairs = [(kind, of) for kind in rules.response_types for of in labels_of(rules, kind)]
    for kind, label in pairs:
        for _ in range(60):
            made = compose(prompt(kind), label, rules, others, draw)
            assert made.completion.strip()
            assert "{topic}" not in made.completion
            labels = np.array([[float(n in made.true) for n in rules.proposition_names]])
            found = hard_class(labels, rules, kind)[0]
            assert found in rules.reward[kind].labels[label], (label, made)


def test_the_draw_decides_all(rules):
    def texts(seed):
        draw = random.Random(seed)
        return [
            compose(prompt("hard_refusal"), "bad", rules, [], draw).completion for _ in range(20)
        ]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_an_off_topic_answer_is_of_another_family(rules):
    others = [prompt("comply", 0), prompt("comply", 1)]
    draw = random.Random(0)
    bank = {
        made.replace("{topic}", others[0].topic).lower()
        for fragment in ("babble", "drifting", "muddled", "misdirected")
        for made in rules.completions.fragments[fragment].texts
    }
    made = {
        compose(others[0], "off_topic", rules, others, draw, 0).completion.lower()
        for _ in range(80)
    }
    assert made - bank == {"it is so."}
