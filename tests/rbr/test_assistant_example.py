"""The second shipped example: its rules check, its rows fit, and there are enough of them."""

import itertools
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from orchestration.cli.main import app
from pipeline.profile import read_profile, read_settings
from rbr.comparisons.compose import HELDOUT_EVERY, labels_of, wordings
from rbr.comparisons.synthetic import composed
from rbr.data.gold import GoldOptions, check_gold, gold_rows
from rbr.data.rows import (
    CapabilityItem,
    CapabilityText,
    HelpfulPrompt,
    Labelled,
    Preference,
    Prompt,
    label_matrix,
)
from rbr.data.splits import SplitOptions, policy_prompts
from rbr.data.stats import gold_stats, prompt_stats
from rbr.data.wordings import composed_wordings
from rbr.data.words import normalised
from rbr.files import read_rows
from rbr.reward.classes import hard_class
from rbr.reward.features import features
from rbr.reward.fit import Comparisons, weight_bounds
from rbr.reward.options import WeightOptions
from rbr.rules import load_rules

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "assistant"
SOURCE = EXAMPLE / "data" / "source"
GERMAN_WORDS = {"der", "die", "das", "ich", "nicht", "ist", "wie", "ein", "und", "sie", "mir"}


@pytest.fixture(scope="module")
def assistant():
    return load_rules(EXAMPLE / "rules")


@pytest.fixture(scope="module")
def prompts():
    return read_rows(SOURCE / "safety_prompts", Prompt)


@pytest.fixture(scope="module")
def gold():
    return read_rows(SOURCE / "gold", Labelled)


@pytest.fixture(scope="module")
def splits(assistant):
    return policy_prompts(SOURCE / "safety_prompts", assistant, SplitOptions(), seed=0)


@pytest.mark.parametrize("profile", ["smoke", "laptop"])
def test_rules_check_finds_nothing_in_a_project_of_its_own(profile, tmp_path):
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    (tmp_path / "params.yaml").write_text(f"profile: {profile}\n")
    done = CliRunner().invoke(app, ["rules", "check", "--root", str(tmp_path)])
    assert done.exit_code == 0, done.stderr
    assert "14 propositions" in done.stdout
    assert "5 response types: fine" in done.stdout


def test_no_name_is_one_of_the_papers_but_comply(assistant, rules):
    assert not set(assistant.proposition_names) & set(rules.proposition_names)
    assert set(assistant.response_types) & set(rules.response_types) == {"comply"}
    for name in assistant.response_types:
        others = {c for kind in rules.response_types for c in rules.class_names(kind)}
        assert not set(assistant.class_names(name)) & others


def test_there_are_prompts_of_each_type_in_each_split_and_none_leaks(assistant, prompts, splits):
    stats = prompt_stats(prompts, assistant, SplitOptions(), seed=0)
    assert stats.prompts >= 130
    by_type = Counter(p.response_type for rows in splits.values() for p in rows)
    assert min(by_type[name] for name in assistant.response_types) >= 18
    for rows in splits.values():
        assert {p.response_type for p in rows} == set(assistant.response_types)
    assert stats.crossing == ()
    assert stats.near_duplicates == ()
    assert stats.lookalike_share > 0.1
    texts = [normalised(p.conversation[-1].content) for p in prompts]
    assert len(set(texts)) == len(texts)


def test_a_third_of_the_prompts_is_german_and_says_so(prompts):
    german = [p for p in prompts if p.language == "de"]
    assert 0.25 < len(german) / len(prompts) < 0.4
    for prompt in prompts:
        words = set(" ".join([prompt.topic, prompt.conversation[-1].content]).lower().split())
        if prompt.language is None:
            assert len(words & GERMAN_WORDS - {"die"}) < 2, prompt.id
    assert sum(
        bool(set(p.conversation[-1].content.lower().split()) & GERMAN_WORDS) for p in german
    ) > 0.7 * len(german)


def test_each_proposition_has_positives_and_near_misses_and_stands_alone(assistant, gold):
    check_gold(SOURCE / "gold", assistant)
    assert len(gold) >= 260
    assert len({(row.conversation, row.completion) for row in gold}) == len(gold)
    asked = {row.id: row.conversation[0].content for row in gold}
    for name in assistant.proposition_names:
        positive = [row for row in gold if name in row.true]
        assert len(positive) >= 25, name
        same = {asked[row.id] for row in positive}
        # Another answer to the very same message: the answer makes the difference, not the subject.
        assert sum(name not in row.true and asked[row.id] in same for row in gold) >= 25, name
        assert len({row.response_type for row in positive}) >= 4, name


def test_propositions_vary_independently_but_where_relations_bind_them(assistant, gold):
    implied = {(a, b) for a, of in assistant.relations.implies.items() for b in of}
    excluded = {frozenset(pair) for pair in assistant.relations.excludes}
    excluded.add(frozenset(["answers_question", "off_topic"]))
    excluded.add(frozenset(["answers_question", "explains_refusal"]))
    together = Counter(
        frozenset(pair) for row in gold for pair in itertools.combinations(row.true, 2)
    )
    names = assistant.proposition_names
    count = Counter(name for row in gold for name in row.true)
    for a, b in itertools.permutations(names, 2):
        if frozenset([a, b]) in excluded:
            assert together[frozenset([a, b])] == 0
        elif (a, b) not in implied:
            # No proposition gives another one away.
            assert together[frozenset([a, b])] < 0.8 * count[a], (a, b)
    pairs = [frozenset(pair) for pair in itertools.combinations(names, 2)]
    met = sum(together[pair] > 0 for pair in pairs if pair not in excluded)
    assert met > 0.75 * len(pairs)


def test_gold_answers_differ_in_length_layout_turns_and_language(gold):
    lengths = [len(row.completion) for row in gold]
    assert sum(n < 40 for n in lengths) > 40
    assert sum(n > 150 for n in lengths) > 30
    assert sum(len(row.conversation) > 1 for row in gold) >= 25
    assert sum(bool({"**", "\n"} & {row.completion[i : i + 2] for i in range(3)}) or "\n" in row.completion for row in gold) >= 3  # fmt: skip
    german = [
        row for row in gold if len(set(row.completion.lower().split()) & GERMAN_WORDS - {"die"}) > 1
    ]
    assert len(german) > 40


def test_gold_labels_reach_each_class_of_each_type(assistant, gold):
    labels = label_matrix([row.true for row in gold], assistant.proposition_names)
    for name in assistant.response_types:
        own = [i for i, row in enumerate(gold) if row.response_type == name]
        assert set(hard_class(labels[own], assistant, name)) == set(assistant.class_names(name))


def test_roles_have_rows_of_each_proposition_and_share_no_conversation(assistant, gold):
    stats = gold_stats(gold, assistant, GoldOptions(), 0)
    assert min(min(by_role.values()) for by_role in stats.support.values()) >= 9
    roles = gold_rows(SOURCE / "gold", GoldOptions(), 0)
    first = [{row.conversation[0].content for row in rows} for rows in roles.values()]
    assert not any(one & other for one, other in itertools.combinations(first, 2))


def test_wordings_are_in_both_languages_and_no_role_shares_one(assistant, gold):
    seen = set()
    for name, fragment in assistant.completions.fragments.items():
        for language in (None, "de"):
            parts = [set(wordings(fragment, held, language)) for held in (False, True)]
            assert min(map(len, parts)) >= 1
            assert len(fragment.in_language(language)) >= HELDOUT_EVERY, name
            assert not parts[0] & parts[1]
        assert set(fragment.texts).isdisjoint(fragment.in_language("de"))
        assert seen.isdisjoint(fragment.all_texts), name
        seen |= set(fragment.all_texts)
    written = composed_wordings(assistant)
    assert [row.id for row in gold if written.in_text(row.completion)] == []


def test_composed_completions_are_in_the_prompts_language_and_of_their_class(assistant, splits):
    fragments = assistant.completions.fragments.values()
    english = {text for one in fragments for text in one.texts if "{topic}" not in text}
    for split, rows in splits.items():
        drafts = composed(rows, assistant, 2, 0, split)
        assert {(d.prompt.id, d.label) for d in drafts} == {
            (p.id, label) for p in rows for label in labels_of(assistant, p.response_type)
        }
        for draft in drafts:
            if draft.prompt.language == "de":
                assert not [text for text in english if text in draft.completion], draft
            rule = assistant.reward[draft.prompt.response_type]
            labels = label_matrix([draft.true], assistant.proposition_names)
            [found] = hard_class(labels, assistant, draft.prompt.response_type)
            assert found in rule.labels[draft.label], draft
            assert assistant.relations.contradiction(draft.true) is None


def test_right_grades_order_held_out_completions_of_each_type(assistant, splits):
    frames = {}
    for split in ("train", "eval"):
        drafts = composed(splits[split], assistant, 2, 0, split)
        labels = label_matrix([draft.true for draft in drafts], assistant.proposition_names)
        frame = pd.DataFrame(
            {
                "prompt_id": [draft.prompt.id for draft in drafts],
                "response_type": [draft.prompt.response_type for draft in drafts],
                "label": [draft.label for draft in drafts],
                "reward_model": np.random.default_rng(0).normal(size=len(drafts)),
            }
        )
        frames[split] = frame, np.clip(labels, 0.03, 0.97)
    for name in assistant.response_types:
        found = {}
        for split, (frame, p) in frames.items():
            own = frame["response_type"] == name
            phi = features(p[own], assistant.proposition_names, assistant, name)
            columns = pd.DataFrame(phi, columns=assistant.feature_names(name))
            rows = pd.concat([frame[own].reset_index(drop=True), columns], axis=1)
            found[split] = Comparisons.of(rows, name, assistant)
        fitted = found["train"].fit(1e-3, weight_bounds(assistant, name, WeightOptions()))
        assert len(found["eval"].ideal_pairs) >= 8
        assert found["eval"].error(fitted.weights) <= 0.1, name
        untaught = found["eval"].error(np.zeros_like(fitted.weights))
        assert untaught > 0.2, name


def test_the_other_sources_are_there_and_in_form():
    for name, form, least in (
        ("helpful_preferences", Preference, 30),
        ("helpful_prompts", HelpfulPrompt, 30),
        ("capability", CapabilityItem, 20),
        ("capability_text", CapabilityText, 5),
    ):
        assert len(read_rows(SOURCE / f"{name}.jsonl", form)) >= least


def test_its_laptop_profile_is_the_shared_one_but_for_gates_of_size():
    own, shared = (read_profile(root, "laptop")[1] for root in (EXAMPLE, ROOT))
    read_settings(EXAMPLE, "laptop")
    assert {name for name in shared if own[name] != shared[name]} == {"gates"}
    changed = {name for name in shared["gates"] if own["gates"][name] != shared["gates"][name]}
    assert changed == {
        "family_min", "prompts_min", "eval_prompts_min", "lookalike_share_min", "gold_rows_min",
        "gold_support", "gold_rare_support", "comparison_label_min", "pair_error_rise_max",
    }  # fmt: skip
