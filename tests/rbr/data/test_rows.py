"""Rows that no run could use are refused with what is wrong."""

import pytest
from pydantic import ValidationError

from rbr.data.rows import Labelled, Message, Preference, Prompt


def said(role, text):
    return Message(role=role, content=text)


def prompt(*turns, **more):
    fields = {"id": "a", "family": "a", "category": "c", "kind": "k", "topic": "a thing"}
    return Prompt(**fields, conversation=turns, **more)


@pytest.mark.parametrize("text", ["", " \n"])
@pytest.mark.parametrize("before", [(), (said("user", "Hi."), said("assistant", "Hello."))])
def test_a_last_turn_has_text(text, before):
    turns = (*before, said("user", text))
    message = "the last turn of the conversation has no text: write what is asked"
    with pytest.raises(ValidationError, match=message):
        prompt(*turns)
    with pytest.raises(ValidationError, match=message):
        Labelled(id="a", response_type="c", conversation=turns, completion="x", true=())
    with pytest.raises(ValidationError, match=message):
        Preference(id="a", family="a", conversation=turns, chosen="a", rejected="b")


def test_earlier_turns_may_be_without_text():
    turns = (said("system", ""), said("user", "Hi."), said("assistant", ""), said("user", "So?"))
    assert prompt(*turns).conversation == turns
    with pytest.raises(ValidationError, match="conversation must end with a user turn"):
        prompt()


def test_a_partial_answer_leaves_something_out():
    asked = said("user", "Which?")
    message = "answer and partial are the same: leave something out of partial"
    with pytest.raises(ValidationError, match=message):
        prompt(asked, answer="This one.", partial="This one. ")
    assert prompt(asked, answer="This one.", partial="This.").partial == "This."
    with pytest.raises(ValidationError, match="come together or not at all"):
        prompt(asked, answer="This one.")


@pytest.mark.parametrize("form", ["homonym", "chiste", "مزاح", "double meaning"])
def test_a_form_is_what_the_policy_calls_it(form):
    assert prompt(said("user", "Which?"), form=form).form == form


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("", "must be a name"),
        (" ", "must be a name"),
        ("joke ", "no space before or after it"),
        ("none", "reports call prompts without one: leave form out"),
        (3, "valid string"),
    ],
)
def test_a_form_that_is_no_name_is_refused(form, told):
    with pytest.raises(ValidationError, match=told):
        prompt(said("user", "Which?"), form=form)
