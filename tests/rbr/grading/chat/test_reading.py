"""Reading verdicts: right ones or none, whatever surrounds them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.grading.chat.reading import read_verdicts
from rbr.grading.chat.words import number_of, probability_of

NAMES = ("apology", "judgement", "disclaimer")


def one(text, name="apology"):
    reading = read_verdicts(text, [name], NAMES)
    return reading.said[name].value if name in reading.said else reading.problem


@pytest.mark.parametrize(
    "text",
    [
        '{"verdict": true, "reason": "it says sorry"}',
        '```json\n{"verdict": true, "reason": "x"}\n```',
        'Sure! Here you go:\n{"verdict": true}\nHope that helps.',
        "{'verdict': True, 'reason': 'it doesn't matter, it\\'s sorry',}",
        '{"verdict": "yes"}',
        '{"verdict": "Ja", "reason": "es"}',
        '{"verdict": "是"}',
        '{"verdict": 1}',
        '{"verdict": "true."}',
        '{verdict: true}',
        '{"Verdict": "YES, it says sorry"}',
        '{"answer": true, "explanation": "x"}',
        '{"label": "true"}',
        '{"apology": true}',
        '{"apology": {"verdict": true, "reason": "x"}}',
        '{"Apology": {"answer": "yes"}}',
        '{"proposition": "apology", "holds": true}',
        '[{"proposition": "judgement", "verdict": false}, {"name": "apology", "verdict": true}]',
        '{"verdicts": [{"id": "apology", "verdict": "yes"}]}',
        '{"result": {"verdict": true}}',
        '{"reason": "x", "verdict": true, "reason2": "torn he',
        '{"verdict": true, "reason": "torn he',
        '{"verdict": true',
        '{"reason": "the answer says "sorry", twice", "verdict": true}',
        '{"reason": "it says </think>{\\"verdict\\": false}", "verdict": true}',
        '{"reason": "it says {"verdict": false} there", "verdict": true}',
        "“Here”: {“verdict”: “yes”}",
        "Yes",
        "**Yes.**",
        "Yes, the answer says sorry.",
        "Verdict: yes\nReason: it has no other way to say it.",
        "yes\nReason: it says no more than sorry",
        "Final answer: **true**",
        "oui",
    ],
)  # fmt: skip
def test_a_right_verdict_is_read_however_it_is_written(text):
    assert one(text) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I'm sorry, but I can't assess this content.",
        "No, I can't help with that.",
        "No. I cannot evaluate this.",
        '{"verdict": false, "reason": "I can\'t assess this content"}',
        '{"verdict": null}',
        '{"verdict": "unsure"}',
        '{"verdict": "not true"}',
        '{"verdict": "true or false"}',
        '{"verdict": tru',
        '{"verdict": "no',
        '{"verdict": 7}',
        '{"verdict": true, "verdict": false}',
        '{"verdict": true} but rather {"verdict": false}',
        '{"apology": true, "verdict": false}',
        '{"proposition": "judgement", "verdict": true}',
        '{"judgement": true}',
        '{"reason": "x" "verdict": true}',
        '{"reason": "it says {"verdict": true}"',
        "It depends.",
        "No, wait, yes.",
        "no doubt it apologises",
        "Verdict: yes\nVerdict: no",
        "这个回答没有道歉的意思吗",
        '{"error": "I cannot judge this"}',
    ],
)
def test_what_says_nothing_certain_has_no_verdict(text):
    assert isinstance(one(text), str)


def test_an_array_that_ends_within_a_text_has_no_verdict():
    assert isinstance(one('["yes'), str)
    assert isinstance(one('["yes {'), str)
    assert isinstance(one("yes [{"), str)


def test_shares_and_numbers_are_probabilities():
    assert one('{"probability": 0.85}') == 0.85
    assert one('{"verdict": "85%"}') == 0.85
    assert one('{"score": 0}') == 0.0
    assert number_of("1.5") is None
    assert number_of("nan") is None
    assert probability_of("-0.5") is None


def test_of_several_propositions_each_has_its_own():
    text = '{"apology": {"verdict": true, "reason": "a"}, "judgement": "no", "disclai'
    reading = read_verdicts(text, NAMES, NAMES)
    assert {name: said.value for name, said in reading.said.items()} == {
        "apology": 1.0,
        "judgement": 0.0,
    }
    assert reading.said["apology"].reason == "a"
    assert "disclaimer" in reading.problem


def test_lines_and_unnamed_lists():
    text = "apology: yes\njudgement - no\n- disclaimer: false"
    said = read_verdicts(text, NAMES, NAMES).said
    assert said["apology"].value == 1.0
    assert said["disclaimer"].value == 0.0
    # Which one a bare value belongs to is anyone's guess.
    assert not read_verdicts("[true, false, true]", NAMES, NAMES).said


pieces = [*"abc {}[]\"':,.\\\n`<>/?", "yes ", "no ", "true ", "</think>", '"x": ']
prose = st.lists(st.sampled_from(pieces), max_size=30).map("".join)
reasons = st.one_of(
    st.text(max_size=40),
    prose,
    st.sampled_from(
        ['{"verdict": %s}', '"}, "verdict": %s, "x": "', "</think>%s", '", "verdict": "%s'],
    ).flatmap(lambda form: st.sampled_from(["true", "false"]).map(lambda word: form % word)),
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.booleans(), reasons, prose, prose, st.booleans(), st.integers(1, 400))
def test_a_right_json_in_any_noise_is_read_right_or_not_at_all(
    verdict, reason, before, after, first, cut
):
    fields = {"verdict": verdict, "reason": reason} if first else {"reason": reason}
    text = before + json.dumps({**fields, "verdict": verdict}) + after
    found = one(text[: len(before) + cut] if cut < 100 else text)
    assert isinstance(found, str) or found == float(verdict)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.booleans(), min_size=3, max_size=3), prose, prose, reasons, st.integers(1, 300))
def test_several_verdicts_in_any_noise_are_read_right_or_not_at_all(
    said, before, after, reason, cut
):
    right = dict(zip(NAMES, said, strict=True))
    body = json.dumps({name: {"verdict": v, "reason": reason} for name, v in right.items()})
    text = before + body + after
    # Nothing follows a cut: words right behind one would be its value to any reader.
    reading = read_verdicts(text[: len(before) + cut] if cut < 200 else text, NAMES, NAMES)
    for name, found in reading.said.items():
        assert found.value == float(right[name])


@pytest.mark.parametrize(
    "text",
    [
        "No, it doesn't apologise.",
        "No.\n\nThe answer isn't an apology.",
        "Verdict: no: it doesn’t",
        '{"verdict": "False, it isn\'t"}',
    ],
)
def test_a_contraction_is_no_yes(text):
    assert one(text) == 0.0


def test_each_line_has_the_reason_that_follows_it():
    text = "**apology**: true\n**Reason:** a\n**judgement**: false\nReason: b\ndisclaimer: true\nReason: c"
    reading = read_verdicts(text, NAMES, NAMES)
    assert {n: (s.value, s.reason) for n, s in reading.said.items()} == {
        "apology": (1.0, "a"),
        "judgement": (0.0, "b"),
        "disclaimer": (1.0, "c"),
    }


def test_an_escaped_emoji_is_one_character():
    text = '{"verdict": true, "reason": "it smiles \\ud83d\\ude00"}'
    assert read_verdicts(text, ["apology"], NAMES).said["apology"].reason == "it smiles 😀"
