"""Completions on request: instructions, few-shot examples, and what is accepted."""

import random
from dataclasses import replace

import numpy as np
import pytest

from rbr.comparisons.compose import compose
from rbr.comparisons.conditioned import (
    FRAME_WORDS,
    few_shot,
    kept,
    rejection_sample,
    request_conversation,
    requests,
)
from rbr.reward.confirm import confirms
from tests.rbr.comparisons.prompts import prompt

PROMPTS = [prompt("hard_refusal", n) for n in range(6)] + [
    prompt("comply", n) for n in range(6, 12)
]


class Oracle:
    """Grades a completion as having the propositions that its text names."""

    def __init__(self, rules):
        self.propositions = tuple(rules.proposition_names)
        self.thresholds = np.full(len(self.propositions), 0.5)

    def identity(self, proposition):
        return "oracle"

    def grade(self, conversations, completions, progress=None, propositions=None):
        rows = [
            [0.99 if n in text.split() else 0.01 for n in self.propositions] for text in completions
        ]
        return np.array(rows)


def test_no_request_asks_for_disallowed_content(rules):
    made = requests(PROMPTS, rules, PROMPTS, seed=0)
    assert {r.label for r in made} == {"ideal", "bad", "full", "partial", "off_topic", "refusal"}
    assert not any("disallowed_content" in r.true for r in made)


def test_examples_are_of_other_families_and_have_the_wanted_propositions(rules):
    request = next(r for r in requests(PROMPTS, rules, PROMPTS, seed=0) if r.label == "ideal")
    examples = few_shot(request, rules, PROMPTS, 3, random.Random(0))
    assert len({p.id for p, _ in examples}) == 3
    assert request.prompt.family not in {p.family for p, _ in examples}
    talk = request_conversation(request, examples)
    assert [m.role for m in talk] == ["system", *["user", "assistant"] * 3, "user"]
    assert "inability to comply" in talk[0].content
    assert talk[-1] == request.prompt.conversation[-1]
    assert [m.content for m in talk if m.role == "assistant"] == [text for _, text in examples]


def test_the_propositions_wording_is_not_told(rules):
    request = next(r for r in requests(PROMPTS, rules, PROMPTS, seed=0) if r.label == "ideal")
    told = request_conversation(request, [])[0].content
    assert not any(p.definition in told for p in rules.propositions.values())


class Says:
    """A writer that says what a function of (conversations, attempt) gives."""

    def __init__(self, write):
        self.write = write

    def conversation(self, request, examples):
        return request_conversation(request, examples)


def run(rules, wanted, sample, attempts):
    accept = confirms(Oracle(rules), rules, 0.5)
    return rejection_sample(wanted, rules, PROMPTS, Says(sample), accept, attempts, 1, 0)


def test_what_the_grader_does_not_confirm_is_asked_again_up_to_the_limit(rules):
    wanted = [r for r in requests(PROMPTS, rules, PROMPTS, seed=0) if r.label == "ideal"]
    sizes = []

    def sample(conversations, attempt):
        sizes.append(len(conversations))
        good = " ".join(wanted[0].true)
        # One more is as wanted at each attempt.
        return [good if i == 0 else "nothing of it" for i in range(len(conversations))]

    made = run(rules, wanted, sample, attempts=3)
    assert sizes == [len(wanted), len(wanted) - 1, len(wanted) - 2]
    assert [r.prompt.id for r in made] == [r.prompt.id for r in wanted[:3]]
    assert all(r.completion for r in made)


def test_partial_is_not_met_by_a_full_answer(rules):
    wanted = [r for r in requests(PROMPTS, rules, PROMPTS, seed=0) if r.label == "partial"]
    full = "partially_complies fully_complies"
    assert run(rules, wanted, lambda conversations, _: [full] * len(conversations), 1) == []
    part = "partially_complies"
    assert len(run(rules, wanted, lambda conversations, _: [part] * len(conversations), 1)) == len(
        wanted
    )


@pytest.mark.parametrize("text", ["", "disallowed_content"])
def test_neither_silence_nor_another_class_counts(rules, text):
    wanted = requests(PROMPTS, rules, PROMPTS, seed=0)
    assert run(rules, wanted, lambda conversations, _: [text] * len(conversations), 2) == []


@pytest.mark.parametrize(
    "text",
    ["Sure, mix this well. " * 40, "まず鍵を回します。" * 40, "Sure: " + "まず" * 90],
    ids=["English", "Japanese", "both"],
)
def test_of_a_disallowed_completion_the_first_words_are_kept_in_any_script(rules, text):
    request = next(r for r in requests(PROMPTS, rules, PROMPTS, seed=0) if r.label == "ideal")
    assert kept(text, request, rules) == text
    disallowed = replace(request, true=("disallowed_content",))
    found = kept(text, disallowed, rules)
    assert text.startswith(found)
    assert max(len(found.split()), found.count("ま")) <= FRAME_WORDS <= len(found)
    assert kept(" ", disallowed, rules) == ""


def test_nothing_left_to_ask_asks_nothing(rules):
    wanted = [r for r in requests(PROMPTS, rules, PROMPTS, seed=0) if r.label == "ideal"][:1]
    calls = []

    def sample(conversations, attempt):
        calls.append(attempt)
        return [" ".join(wanted[0].true)]

    assert len(run(rules, wanted, sample, attempts=5)) == 1
    assert calls == [0]


def test_requests_are_drawn_as_composed_ones_are(rules):
    draw = random.Random("7:orders")
    first = requests(PROMPTS[:1], rules, PROMPTS, seed=7)[0]
    assert first.true == compose(PROMPTS[0], first.label, rules, PROMPTS, draw).true
