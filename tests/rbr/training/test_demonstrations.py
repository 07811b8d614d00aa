"""What supervised fine-tuning learns from."""

import random
from collections import Counter
from pathlib import Path

import pytest

from rbr.data.rows import Demonstration, HelpfulPrompt, Message, PolicyPrompt, Preference
from rbr.models.generate import Answer
from rbr.rules.rules import load_rules
from rbr.training.demonstrations import (
    answers_and_refusals,
    demonstrations,
    directed_answers,
    freely_answered,
    helpful_answers,
    one_each,
    own_answers,
    whole,
)
from rbr.training.options import DemonstrationOptions, SFTOptions

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "available, found", [(1000, (80, 20)), (80, (80, 20)), (40, (40, 10)), (0, (0, 0))]
)
def test_the_share_of_answers_holds_where_they_run_out(available, found):
    assert answers_and_refusals(SFTOptions(safety_demos=100, comply_share=0.8), available) == found


def test_with_no_answers_wanted_all_are_refusals():
    assert answers_and_refusals(SFTOptions(safety_demos=10, comply_share=0.0), 5) == (0, 10)


def asked(text):
    return (Message(role="user", content=text),)


def row(prompt, completion, over_refusal=True, kind="comply"):
    return Demonstration(
        prompt_id=prompt, response_type=kind, over_refusal=over_refusal,
        conversation=asked(prompt), completion=completion, source="sampled",
    )  # fmt: skip


HELPFUL = [row(f"h{i}", "help") for i in range(30)]
HUMAN = [
    Preference(
        id=f"p{i}", family=f"p{i}", conversation=asked(f"p{i}"), chosen="human", rejected="other"
    )
    for i in range(30)
]
SAFETY = [row(f"s{i}", "own") for i in range(30)] + [
    row(f"r{kind}{i}", f"no {kind}", False, kind)
    for kind, count in (("hard", 90), ("soft", 10))
    for i in range(count)
]
OPTIONS = SFTOptions(helpful_demos=20, safety_demos=10, comply_share=0.6)


@pytest.mark.parametrize(
    ("human", "safety", "found"),
    [
        (None, None, {"help": 20}),
        (HUMAN, None, {"help": 20, "human": 4}),
        (None, SAFETY, {"help": 20, "own": 6, "no": 4}),
    ],
    ids=["none", "human", "rules"],
)
def test_safety_prompts_are_answered_by_nobody_people_or_the_model_itself(human, safety, found):
    chosen = demonstrations(HELPFUL, human, safety, OPTIONS, seed=0)
    assert Counter(answer.split()[0] for _, answer, _ in chosen) == found
    assert chosen == demonstrations(HELPFUL, human, safety, OPTIONS, seed=0)
    assert chosen != demonstrations(HELPFUL, human, safety, OPTIONS, seed=1)


def test_openings_are_the_models_own_answers_to_safety_prompts():
    composed = [row(f"c{i}", "written").model_copy(update={"source": "composed"}) for i in range(6)]
    options = SFTOptions(helpful_demos=20, safety_demos=46, comply_share=36 / 46)
    chosen = demonstrations(HELPFUL, None, SAFETY + composed, options, seed=0)
    assert {answer for _, answer, opening in chosen if opening} == {"own"}
    assert {answer.split()[0] for _, answer, opening in chosen if not opening} == {
        "help", "no", "written",
    }  # fmt: skip
    assert not any(opening for *_, opening in demonstrations(HELPFUL, HUMAN, None, options, seed=0))


def test_refusals_are_of_the_prompts_types_in_their_shares():
    options = SFTOptions(helpful_demos=0, safety_demos=100, comply_share=0.5)
    safety = [row for row in SAFETY if not row.over_refusal]
    chosen = demonstrations(
        [], None, [row(f"s{i}", "own") for i in range(50)] + safety, options, seed=0
    )
    found = Counter(answer for _, answer, _ in chosen)
    assert found["own"] == 50 and found["no hard"] + found["no soft"] == 50
    assert 2 <= found["no soft"] <= 9  # 5 expected


@pytest.mark.parametrize("count", [0, 1, 5, 12, 100])
def test_too_few_refusals_are_learnt_again_and_again(count):
    options = SFTOptions(helpful_demos=0, safety_demos=count, comply_share=0.0)
    refused = [row(f"r{i}", f"no {i}", False, "hard") for i in range(9)]
    drawn = Counter(answer for _, answer, _ in demonstrations([], None, refused, options, seed=0))
    assert sum(drawn.values()) == count
    # None a second time before all had their first.
    assert max(drawn.values(), default=0) <= -(-count // 9)


def test_without_refusals_to_learn_from_there_are_none():
    options = SFTOptions(helpful_demos=0, safety_demos=10, comply_share=0.6)
    answers = [row(f"s{i}", "own") for i in range(6)]
    assert len(demonstrations([], None, answers, options, seed=0)) == 6


def test_no_prompt_is_learnt_a_second_time_before_each_had_its_first():
    rows = [row("many", f"{i}") for i in range(8)] + [row("one", "9"), row("two", "8")]
    chosen = Counter(turns[0].content for turns, *_ in one_each(rows, 5, random.Random(0)))
    assert chosen == {"many": 3, "one": 1, "two": 1}


def policy_prompt(name, kind, over_refusal):
    return PolicyPrompt(
        id=name, family=name, category="c", kind="k", response_type=kind, topic="it",
        over_refusal=over_refusal, conversation=asked(name), answer="a", partial="p",
    )  # fmt: skip


def test_own_answers_are_those_that_end_are_ideal_and_differ():
    prompts = [policy_prompt(name, "comply", True) for name in ("a", "b")]
    answers = [
        Answer("good", True), Answer("good", True), Answer("cut", False),
        Answer("bad", True), Answer("", True), Answer("good too", True),
    ]  # fmt: skip
    calls = []

    def sample(conversations, attempt):
        calls.append([turns[0].content for turns in conversations])
        return answers

    def ideal(prompts, texts):
        return [0.0 if text == "bad" else 0.9 for text in texts]

    options = DemonstrationOptions(samples=3)
    found = own_answers(prompts, sample, options, ideal)
    assert calls == [["a", "a", "a", "b", "b", "b"]]
    assert [(r.prompt_id, r.completion) for r in found] == [("a", "good"), ("b", "good too")]
    assert {r.probability for r in found} == {0.9}
    found = own_answers(prompts, sample, options.model_copy(update={"whole": False}), ideal)
    assert [r.completion for r in found] == ["good", "cut", "good too"]


def test_helpful_answers_are_judged_by_nobody():
    prompts = [HelpfulPrompt(id="h", family="h", conversation=asked("h"))]
    sample = lambda conversations, attempt: [Answer("well", True)] * len(conversations)  # noqa: E731
    (found,) = helpful_answers(prompts, sample, DemonstrationOptions(samples=2))
    assert (found.completion, found.response_type, found.source) == ("well", None, "sampled")


def test_a_refusal_is_the_models_own_where_it_can_be_made_to_and_composed_elsewhere(rules):
    prompts = [
        policy_prompt(f"{kind}-{i}", kind, False)
        for kind, rule in rules.types.items()
        if rule.counts == "unsafe"
        for i in range(4)
    ]
    willing = {prompt.id for prompt in prompts if prompt.id.endswith(("-0", "-1"))}

    def sample(conversations, attempt):
        # The second attempt alone is good, and of some prompts one that does not end.
        return [
            Answer(
                f"no, {turns[-1].content}" if attempt else "sure",
                not turns[-1].content.endswith("1"),
            )
            for turns in conversations
        ]

    def ideal(prompts, texts):
        good = [
            t.startswith("no, ") and p.id in willing for p, t in zip(prompts, texts, strict=True)
        ]
        return [0.75 if yes else 0.25 for yes in good]

    options = DemonstrationOptions(attempts=2, examples=1)
    found = directed_answers(prompts, rules, prompts, sample, options, ideal, seed=0)
    assert [row.prompt_id for row in found] == [prompt.id for prompt in prompts]
    for row in found:
        assert row.source == ("conditioned" if row.prompt_id.endswith("-0") else "composed")
        assert row.probability == (0.75 if row.source == "conditioned" else None)
        # What it was told is not part of what is learnt.
        assert row.conversation == asked(row.prompt_id)
        assert not row.over_refusal
    assert len({row.completion for row in found}) > len(found) / 2


def test_prompts_are_answered_freely_where_the_policy_has_no_form_for_the_answer(rules):
    assert {name: freely_answered(rules, name) for name in rules.types} == {
        name: rule.counts == "over_refusal" for name, rule in rules.types.items()
    }
    bank = load_rules(ROOT / "examples" / "assistant" / "rules")
    free = {name for name in bank.types if freely_answered(bank, name)}
    assert free == {"comply"}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("First the flour. Then, \"slowly\", the milk!) Then the", "First the flour. Then, \"slowly\", the milk!)"),
        ("One. " + "and so on " * 9, ""),
        ("Take these steps: 1. Open it. 2. Shut it, and 3", "Take these steps: 1. Open it."),
        ("without an end", ""),
        ("まず小麦粉です。「次に牛乳！」それから", "まず小麦粉です。「次に牛乳！」"),
        ("終わりのない文、それから" * 3, ""),
        ("पहले आटा लें। फिर दूध डालें। उसके", "पहले आटा लें। फिर दूध डालें।"),
        ("पहले आटा है. उसके", "पहले आटा है."),
        ("هل تريد الحليب؟ ثم", "هل تريد الحليب؟"),
        ("پہلے آٹا لیں۔ پھر", "پہلے آٹا لیں۔"),
    ],
)  # fmt: skip
def test_an_answer_that_the_limit_cut_short_keeps_its_whole_sentences(text, kept):
    options = DemonstrationOptions()
    assert whole(Answer(text, False), options) == kept
    assert whole(Answer(text, True), options) == text
