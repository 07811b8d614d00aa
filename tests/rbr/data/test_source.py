"""What people wrote: it parses, and nothing stands twice."""

from collections import Counter

import pytest

from rbr.data.gold import split_gold
from rbr.data.rows import (
    CapabilityItem,
    CapabilityText,
    HelpfulPrompt,
    Labelled,
    Preference,
    Prompt,
)
from rbr.data.splits import near_duplicates, normalised
from rbr.files import read_rows


@pytest.fixture(scope="module")
def prompts(root):
    return read_rows(root / "data/source/safety_prompts", Prompt)


@pytest.fixture(scope="module")
def gold(root):
    return read_rows(root / "data/source/gold", Labelled)


def text(row):
    return "\n".join(m.content for m in row.conversation)


def test_there_are_enough_prompts_and_no_duplicate(prompts):
    assert len(prompts) >= 400
    assert len({p.family for p in prompts}) >= 100
    counts = Counter(normalised(text(p)) for p in prompts)
    assert [t for t, n in counts.items() if n > 1] == []


def test_the_policy_knows_each_prompt_and_comply_ones_have_answers(prompts, rules):
    for p in prompts:
        assert (rules.response_type(p.category, p.kind) == "comply") == (p.answer is not None), p.id


def test_gold_rows_are_consistent_and_name_known_propositions(gold, rules):
    assert len(gold) >= 200
    known = set(rules.proposition_names)
    for row in gold:
        assert set(row.true) <= known, row.id
        assert rules.relations.contradiction(row.true) is None, row.id
        assert row.response_type in rules.response_types
    assert set().union(*(row.true for row in gold)) == known
    rows = Counter((text(row), row.completion) for row in gold)
    assert [r for r, n in rows.items() if n > 1] == []


def test_no_gold_conversation_is_on_both_sides(gold):
    train, heldout = split_gold(gold, 0.33, 0)
    assert len(train) + len(heldout) == len(gold)
    assert 0.25 < len(heldout) / len(gold) < 0.42
    assert not {r.conversation[0].content for r in train} & {
        r.conversation[0].content for r in heldout
    }


def test_gold_prompts_are_no_copies_of_safety_prompts(prompts, gold):
    found = near_duplicates([text(p) for p in prompts], sorted({text(g) for g in gold}), 0.9)
    assert found == []


def test_the_other_files_parse(root):
    source = root / "data/source"
    assert len(read_rows(source / "helpful_preferences.jsonl", Preference)) >= 70
    assert len(read_rows(source / "helpful_prompts.jsonl", HelpfulPrompt)) >= 30
    assert len(read_rows(source / "capability.jsonl", CapabilityItem)) >= 40
    assert len(read_rows(source / "capability_text.jsonl", CapabilityText)) >= 8
