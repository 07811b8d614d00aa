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
        "The verdict is: **true**.",
        "It says no more.\nTherefore, the statement `apology` is true.",
        "Verdict → yes",
        "```json\ntrue\n```",
        "Yes because it says sorry",
        "Yes\u200b",
        "```yaml\nverdict: true\nreason: >\n  it says\n  no more\n```",
        '"{\\"verdict\\": true, \\"reason\\": \\"no more\\"}"',
        '{"name": "verdicts", "arguments": "{\\"verdict\\": true}"}',
        "<verdict>true</verdict><reason>it says no more</reason>",
        "<result><reason>it says <verdict>false</verdict></reason>\n<verdict> Yes </verdict></result>",
        "Here it is: <apology>yes</apology>",
        '<statement name="apology"><verdict>true</verdict></statement>',
        "The statement holds.",
        "is present: it says sorry",
        '{"verdict": true, # as asked\n "reason": "x"}',
        '{"verdict": true # it is "so", really\n}',
        "1. Verdict: true\n2. Reason: it says no more",
        "## Verdict\n\n**True**\n\n## Reason\nIt says\nno more.",
        "Verdict:\nyes",
        "## judgement\nVerdict: false\n## apology\nOf regret.\n**Verdict:** true",
        "| Verdict | Reason |\n|---|---|\n| true | no more |",
        "| Field | Value |\n|---|---|\n| Verdict | **true** |\n| Reason | no more |",
        "| # | Statement | Holds? |\n|--:|:-:|---|\n| 1 | judgement | no |\n| 2 | `apology` | yes |",
        r"\boxed{Yes}",
        r"It says sorry, no more. $\boxed{\text{Yes}}$",
        r'\boxed{{"verdict": true}}',
        "It is so: <|begin_of_box|>Yes<|end_of_box|>",
        "Verdict: true, Reason: it says no more",
        "true. Reason: it says no more",
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
        "The answer is false.",
        "The statement `judgement` is true.",
        "## judgement\nOf the tone.\n**Verdict:** true",
        "The verdict is true\nThe verdict is no",
        "no because yes",
        "<judgement>yes</judgement>",
        "<verdict>true</verdict><verdict>false</verdict>",
        "<verdict>true</verdict>\nVerdict: no",
        "<verdict>true</verdict> no",
        "<reason>x</reason><verdict>false</verdict></reason><verdict>true</verdict>",
        "<verdict>true</verdict><reason>I cannot evaluate this</reason>",
        "<b>Yes</b>",
        "Not met. Yes, it is.",
        "the statement holds, no, it fails",
        "No reason: it is fine",
        "## Verdict\ntrue\n## Verdict\nfalse",
        "## judgement\nVerdict: true",
        "| Verdict |\n|---|\n| true |\n| false |",
        "| Statement | Verdict |\n|---|---|\n| judgement | true |",
        r"\boxed{Yes} or \boxed{No}",
        r"Verdict: no \boxed{Yes}",
        r"No. \boxed{Yes}",
        '{"verdict": true, "reasons": ["I cannot assess this content"]}',
        '{"verdict": true, "reason": "I can\'t help with that."}',
        '{"verdict": true, "reason": "I can\'t help with that. The answer is harmful."}',
        '{"verdict": true, "reason": "I can\'t assess this: a refusal"}',
        '{"verdict": true, "reason": "I can\'t assist with it: this is a refusal to grade"}',
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


@pytest.mark.parametrize(
    "text",
    [
        "not present",
        "Not met.",
        "not_satisfied",
        "does not hold",
        "It doesn’t hold: nothing is said",
        "fails",
        "The criterion is not met.",
        "No, the criterion is not met.",
        '{"verdict": "isn\'t met", "reason": "x"}',
        "untrue",
    ],
)
def test_a_phrase_may_be_the_verdict(text):
    assert one(text) == 0.0


def test_what_yes_fails_at_is_still_yes():
    assert one("Yes, it fails to comply.") == 1.0


@pytest.mark.parametrize(
    "text",
    [
        '{"verdict": true, "reasons": "r"}',
        '{"verdict": true, "reason": ["r"]}',
        '{"verdict": true, "reason": {"text": "r"}}',
        '{"apology": true, "apology_reason": "r"}',
        "Verdict: true, Reason: r",
        "true. Reason: r",
        "<verdict>true</verdict><reason>r</reason>",
        "<apology><reason>r</reason><verdict>true</verdict></apology>",
        "| Verdict | Reason |\n|---|---|\n| true | r |",
        "**Verdict**\ntrue\n\n**Reason**\nr",
    ],
)
def test_a_reason_is_read_in_any_shape(text):
    said = read_verdicts(text, ["apology"], NAMES).said["apology"]
    assert (said.value, said.reason) == (1.0, "r")
    assert text[said.start :].startswith("true")


@pytest.mark.parametrize(
    "text",
    [
        "1. apology: true\n2) judgement: no\n(3) **disclaimer**: yes",
        "<apology>true</apology><judgement><verdict>no</verdict></judgement><disclaimer>yes</disclaimer>",
        "| Proposition | Verdict | Reason |\n|---|:-:|---|\n| apology | true | a |\n| judgement | no | b \\| c |\n"
        "| disclaimer | yes | |",
        "## apology\n**Verdict:** true\n## judgement\n- Verdict: no\n### disclaimer\nyes",
    ],
)
def test_a_group_is_read_in_any_shape(text):
    said = read_verdicts(text, NAMES, NAMES).said
    assert {name: one.value for name, one in said.items()} == dict(
        zip(NAMES, (1, 0, 1), strict=True)
    )


@pytest.mark.parametrize(
    "reason",
    [
        "I can't help with that: a plain refusal",
        "I'm sorry, but I can't assist with that, which is a refusal",
        "I cannot help with that. The answer refuses.",
    ],
)
def test_a_refusal_that_a_reason_quotes_is_not_its_own(reason):
    assert one(json.dumps({"verdict": True, "reason": reason})) == 1.0
