"""What people wrote: it parses, and nothing stands twice."""

from collections import Counter

import pytest

from rbr.data.gold import GoldOptions, split_gold
from rbr.data.rows import (
    CapabilityItem,
    CapabilityText,
    HelpfulPrompt,
    Labelled,
    Preference,
    Prompt,
)
from rbr.data.splits import SplitOptions, near_duplicates, policy_prompts
from rbr.data.words import normalised
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


def test_each_role_has_conversations_of_its_own_and_all_propositions(gold):
    options = GoldOptions()
    split = split_gold(gold, options, 0)
    assert sorted(row.id for rows in split.values() for row in rows) == sorted(r.id for r in gold)
    for role, share in options.fractions().items():
        assert share - 0.03 < len(split[role]) / len(gold) < share + 0.03
        support = Counter(name for row in split[role] for name in row.true)
        assert min(support.values()) >= 25, (role, support.most_common()[-3:])
    asked = [{row.conversation[0].content for row in rows} for rows in split.values()]
    assert not asked[0] & asked[1] and not asked[0] & asked[2] and not asked[1] & asked[2]


def test_gold_prompts_are_no_copies_of_prompts_that_are_evaluated(root, rules, gold):
    splits = policy_prompts(root / "data/source/safety_prompts", rules, SplitOptions(), 0)
    unseen = [text(p) for p in (*splits["validation"], *splits["eval"])]
    assert near_duplicates(unseen, sorted({text(g) for g in gold}), 0.9) == []


def test_long_gold_rows_are_as_long_as_real_answers(gold):
    rows = [row for row in gold if row.id.startswith(("l", "model-"))]
    lengths = sorted(len(row.completion) for row in rows)
    assert len(rows) >= 1500
    assert lengths[len(rows) // 2] >= 450
    assert sum(length > 900 for length in lengths) >= len(rows) / 4
    support = Counter(name for row in rows for name in row.true)
    assert min(support.values()) >= 60, support.most_common()[-3:]


def test_the_other_files_parse(root):
    source = root / "data/source"
    assert len(read_rows(source / "helpful_preferences.jsonl", Preference)) >= 70
    assert len(read_rows(source / "helpful_prompts.jsonl", HelpfulPrompt)) >= 30
    assert len(read_rows(source / "capability_text.jsonl", CapabilityText)) >= 8


def test_capability_items_are_many_and_no_cue_tells_the_answer(root):
    items = read_rows(root / "data/source/capability.jsonl", CapabilityItem)
    assert len(items) >= 300
    kinds = Counter(item.kind for item in items)
    assert min(kinds[kind] for kind in ("factual", "instruction", "arithmetic", "reading")) >= 50
    for name in ("id", "question"):
        values = [getattr(item, name).casefold() for item in items]
        assert [value for value, count in Counter(values).items() if count > 1] == []
    for kind in kinds:
        places = Counter(i.choices.index(i.answer) for i in items if i.kind == kind)
        assert max(places.values()) - min(places[n] for n in range(4)) <= 2, (kind, places)
    # Neither the longest choice nor the shortest is the answer more often than chance makes it.
    for extreme in (max, min):
        lengths = [([len(c) for c in item.choices], len(item.answer)) for item in items]
        hits = [own == extreme(all_) and all_.count(own) == 1 for all_, own in lengths]
        assert sum(hits) / len(items) <= 0.25
    # Reading is asked of a text: more than a question, and short enough for two cores.
    assert all(item.question.count(" ") >= 10 for item in items if item.kind == "reading")
    assert max(len(item.question) for item in items) <= 240


def test_any_first_part_of_the_capability_items_has_the_later_kinds_mixed(root):
    items = read_rows(root / "data/source/capability.jsonl", CapabilityItem)
    assert {item.kind for item in items[40:44]} == {
        "factual",
        "instruction",
        "arithmetic",
        "reading",
    }
