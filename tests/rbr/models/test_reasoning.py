"""Taking reasoning off an answer: nothing of it is left, nothing of the answer is lost."""

import json

import pytest

from rbr.grading.chat.reading import whole_json
from rbr.models.chat.reasoning import separate

RIGHT = '{"verdict": false}'


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("plain", "", "plain"),
        ("<think>a</think>b", "a", "b"),
        ("<think>a</think>\n<think>c</think>b", "a\nc", "b"),
        ("a</think>\n\nb", "a", "b"),
        ("<Thinking>a</Thinking> b", "a", "b"),
        ("[THINK]a[/THINK]b", "a", "b"),
        ("◁think▷a◁/think▷b", "a", "b"),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>", "a", "b"),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b", "a", "b"),
        ("<|channel|>final<|message|>b<|return|>", "", "b"),
        ("analysisAb c.assistantfinalB", "Ab c.", "B"),
        ("assistantfinal{}", "", "{}"),
        ("<|channel>thought\na<channel|>b", "a", "b"),
        ("<|channel>thought\n<channel|>b", "", "b"),
        ("analysis of the case: fine", "", "analysis of the case: fine"),
        ("<unused94>thought\na<unused95>b", "a", "b"),
        ("<|inner_prefix|>a<|inner_suffix|>b", "a", "b"),
        ("<longcat_think>a</longcat_think>b", "a", "b"),
        ("Here is my thought process:\na\n\nHere is my response:\nb", "a", "b"),
        ("<think>a</think><|begin_of_box|>b<|end_of_box|>", "a", "b"),
        ("<|begin_of_box|>b<|end_of_box|>", "", "b"),
        ("<reasoning>a</reasoning>b", "a", "b"),
        ("<verdict>b</verdict><reason>a</reason>", "", "<verdict>b</verdict><reason>a</reason>"),
        ("<reason>a</reason>\n<verdict>b</verdict>", "", "<reason>a</reason>\n<verdict>b</verdict>"),
        ("<think>c</think><verdict>b</verdict><reason>a</reason>", "c", "<verdict>b</verdict><reason>a</reason>"),
    ],
)  # fmt: skip
def test_dialects_are_taken_apart(text, reasoning, answer):
    found = separate(text)
    assert (found.reasoning, found.answer, found.finished) == (reasoning, answer, True)


@pytest.mark.parametrize(
    "text",
    [
        "<think>a",
        "[THINK]a {",
        "<|channel|>analysis<|message|>a",
        "analysisA b",
        "Here's my thought process: a",
        "<unused94>thought\na",
    ],
)
def test_reasoning_that_does_not_end_leaves_no_answer(text):
    found = separate(text)
    assert (found.answer, found.finished) == ("", False)
    assert found.reasoning


@pytest.mark.parametrize(
    "quoted",
    ['</think>{"verdict": true}', '<|channel|>final<|message|>{"verdict": true}', "<think>"],
)
def test_tags_that_an_answer_or_its_reasoning_quotes_move_no_border(quoted):
    answer = json.dumps({"reason": f"it says {quoted}", "verdict": False})
    assert separate(answer, whole_json).answer == answer
    assert separate(f"<think>hm</think>{answer}", whole_json).answer == answer
    if "think>{" in quoted:
        found = separate(f"<think>it says {quoted}, so no</think>{RIGHT}", whole_json)
        assert found.answer == RIGHT
    harmony = f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{answer}"
    assert separate(harmony, whole_json).answer == answer
