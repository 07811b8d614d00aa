"""Composed completions fall in the class that their label says."""

import random
from dataclasses import replace

import numpy as np
import pytest

from rbr.comparisons.compose import compose, foreign_errors, labels_of
from rbr.data.rows import Prompt
from rbr.errors import DataError
from rbr.files import read_rows
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


def test_a_recipe_that_finds_no_other_answer_says_so(rules):
    asked, sibling = prompt("comply", 0), prompt("comply", 0)
    recipe = rules.completions.recipes["comply"]["off_topic"][0].model_copy(
        update={"slots": ("other_answer",)}
    )
    recipes = {"comply": {"off_topic": (recipe,)}}
    bank = rules.completions.model_copy(update={"recipes": recipes})
    own, draw = replace(rules, completions=bank), random.Random(0)
    others = [asked, sibling, prompt("hard_refusal", 1)]
    with pytest.raises(DataError, match="'off_topic' of 'comply' takes another prompt's answer"):
        compose(asked, "off_topic", own, others, draw, 0)
    others.append(prompt("comply", 2))
    assert compose(asked, "off_topic", own, others, draw, 0).completion == "It is so."


def test_a_check_names_the_recipe_and_the_splits_without_another_answer(root, rules):
    prompts = [p for p in read_rows(root / "data/source/safety_prompts", Prompt) if p.answer]
    two = [prompts[0], next(p for p in prompts if p.family != prompts[0].family)]
    path = root / "rules" / "completions.yaml"
    splits = {"train": two, "validation": two[:1], "eval": two[1:]}
    [error] = foreign_errors(root / "rules", rules, splits)
    assert error.place.path == path
    assert path.read_text().splitlines()[error.place.line - 1].strip().startswith("off_topic:")
    assert error.message == (
        "'off_topic' of 'comply' takes another prompt's answer (other_answer), and too few prompts of"
        " split validation, eval have one: write answers to prompts of more families, or drop other_answer"
        " from the recipes"
    )
    assert list(foreign_errors(root / "rules", rules, {"train": two, "eval": []})) == []
