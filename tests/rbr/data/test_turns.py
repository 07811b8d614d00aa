"""Every form of prompt and answer that chat clients write, and what is no answer."""

import numpy as np
import pytest

from rbr.data.rows import Message
from rbr.data.turns import (
    has_content,
    read_batch,
    read_completion,
    read_conversation,
    without_reasoning,
)
from rbr.errors import DataError
from rbr.reward.rule_based_reward import RuleBasedReward
from tests.fakes import FixedGrader, FixedScorer, drawn_weights

CALL = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
PARTS = [{"type": "text", "text": "a"}, {"type": "output_text", "text": "b"}]
USER = {"role": "user", "content": "q"}


def said(content, **more):
    return {"role": "assistant", "content": content, **more}


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("", ""),
        ("a", "a"),
        ([said("a")], "a"),
        (said("a"), "a"),
        ([Message(role="assistant", content="a")], "a"),
        (np.array([said("a")]), "a"),
        ([said(np.array(PARTS))], "ab"),
        ([said("", tool_calls=[])], ""),
        ([said("a", tool_calls=None, function_call=None, refusal=None)], "a"),
        ([said(PARTS)], "ab"),
        ([said([{"type": "thinking", "thinking": "hm"}, *PARTS])], "ab"),
        ([said([{"type": "reasoning", "text": "hm"}, *PARTS])], "ab"),
        ([said("a", reasoning_content="hm", thinking="hm")], "a"),
        ([said(None, refusal="no")], "no"),
        ([said([{"type": "refusal", "refusal": "no"}])], "no"),
        ([said(None, tool_calls=CALL), {"role": "tool", "content": "42"}, said("a")], "a"),
        ([said("", tool_calls=CALL), {"role": "function", "content": "42"}, said("a")], "a"),
        ([said("I look.", tool_calls=CALL), {"role": "tool", "content": "42"}, said("a")],
         "I look.\na"),
        ([said([*PARTS, {"type": "tool_use", "id": "1"}]), {"role": "tool"}, said("c")], "ab\nc"),
        ([USER, said("earlier"), USER, said("a")], "a"),
    ],
)  # fmt: skip
def test_an_answer_is_the_assistants_text(completion, text):
    assert read_completion(completion) == text


@pytest.mark.parametrize(
    "completion",
    [
        None,
        3,
        float("nan"),
        True,
        b"a",
        [],
        {},
        ["a"],
        [said(None)],
        [said(None, tool_calls=CALL)],
        [said("", tool_calls=CALL)],
        [said("I look.", tool_calls=CALL)],
        [said(None, function_call={"name": "f"})],
        [said("a"), {"role": "tool", "content": "42"}],
        [{"role": "tool", "content": "42"}],
        [USER],
        [{"content": "a"}],
        [said(3)],
        [said(float("nan"))],
        [said([])],
        [said({"text": "a"})],
        [said(["a"])],
        [said([*PARTS, {"type": "image_url", "image_url": {"url": "x"}}])],
        [said([*PARTS, {"type": "input_audio"}])],
        [said([*PARTS, {"type": "tool_use"}])],
        [said([{"type": "text", "text": None}])],
        [said([{"type": "text", "text": 3}])],
        [said([{"type": "reasoning", "text": "hm"}])],
    ],
)
def test_what_is_no_answer_is_an_error_that_names_the_row(rules, completion):
    reward = RuleBasedReward(
        rules, drawn_weights(rules), FixedGrader(rules.proposition_names), FixedScorer()
    )
    for response_type in ("hard_refusal", None):
        with pytest.raises(DataError, match=r"^row 1: completion"):
            reward(["q", "q"], ["a", completion], response_type=[response_type] * 2)


def test_the_reward_of_parts_and_tool_turns_is_that_of_the_text(rules):
    reward = RuleBasedReward(
        rules, drawn_weights(rules), FixedGrader(rules.proposition_names), FixedScorer()
    )
    steps = [said(None, tool_calls=CALL), {"role": "tool", "content": "42"}, said(PARTS)]
    types = ["hard_refusal"] * 3
    found = reward([[USER], "q", [USER]], [steps, "ab", [said("ab")]], response_type=types)
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    "prompt",
    [None, 3, "", "  ", [], [said("a")], ["q"], [{"role": "user", "content": None}],
     [{"role": "user", "content": [{"type": "image"}]}], [{"role": "tool", "content": "t"}, USER],
     [said(None, tool_calls=CALL), USER], [{"role": 3, "content": "q"}]],
)  # fmt: skip
def test_a_prompt_that_cannot_be_read_names_its_row(prompt):
    with pytest.raises(DataError, match=r"^row 2: prompt"):
        read_batch(["q", "q", prompt], ["a"] * 3)


def test_prompts_are_read():
    turns = [{"role": "developer", "content": "d"}, {"role": "user", "content": PARTS}]
    found = read_conversation(turns)
    assert [(m.role, m.content) for m in found] == [("system", "d"), ("user", "ab")]
    assert read_conversation("q") == read_conversation([USER]) == (Message(**USER),)


def test_as_many_completions_as_prompts():
    with pytest.raises(DataError, match="2 prompts and 1 completions"):
        read_batch(["q", "q"], ["a"])


THOUGHT = "<think>\nI could insult them.\n</think>\n\n"


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        (THOUGHT + "No.\n", "No.\n"),
        ("\n " + THOUGHT + "No.", "No."),
        ("<think></think>No.", "No."),
        (THOUGHT + THOUGHT + "No.", "No."),
        (THOUGHT + "<think>more", ""),
        ("<think>\nI was cut", ""),
        ("<think>", ""),
        (THOUGHT, ""),
        (THOUGHT + "No </think>, <think>so", "No </think>, <think>so"),
        ("No. " + THOUGHT, "No. " + THOUGHT),
        ("You fool</think>No.", "You fool</think>No."),
        ("<thinking of you>", "<thinking of you>"),
        (" No.\n", " No.\n"),
    ],
)
def test_reasoning_at_the_start_is_no_answer(written, answer):
    assert read_completion(written) == answer
    assert read_completion([said(written)]) == answer
    assert read_completion([said([{"type": "text", "text": written}])]) == answer
    [_, turn, _] = read_conversation([USER, said(written), USER])
    assert turn.content == answer
    assert read_conversation(written)[0].content == written  # a user's words


def test_reasoning_of_each_message_of_an_answer_is_left_out():
    call = {"tool_calls": CALL}
    turns = [said(THOUGHT, **call), {"role": "tool"}, said(THOUGHT + "I look.", **call)]
    assert read_completion([*turns, {"role": "tool"}, said(THOUGHT + "No.")]) == "I look.\nNo."


def test_a_template_may_begin_the_reasoning_itself():
    assert without_reasoning("hm</think>No.", "assistant\n<think>\n") == "No."
    assert without_reasoning("hm", "assistant\n<think>\n") == ""
    assert without_reasoning("hm</think>No.", "assistant\n<think>\n\n</think>") == "hm</think>No."


def test_much_text_is_read_in_linear_time():
    for text in (" " * 200_000, "<think>" * 50_000, "<think></think>" * 50_000 + "No."):
        read_completion(text)


@pytest.mark.parametrize("text", ["No", "42", "Да.", "好", "<think>a</think> Yes", "<b>hi</b>"])
def test_what_has_a_letter_or_digit_is_an_answer(text):
    assert has_content(text)


@pytest.mark.parametrize(
    "text", ["", "?!", "<|eot_id|>", "<s> </s>", "<think>I think", "---\n\n* *"]
)
def test_marks_end_tokens_and_reasoning_alone_are_none(text):
    assert not has_content(text)
