"""Labelling by keyboard: what is typed is what is written, and it goes on where it stopped."""

from dataclasses import replace

import pytest

from orchestration.cli.label import label
from rbr.data.rows import Labelled, Message
from rbr.files import read_rows, write_rows


@pytest.fixture
def source(tmp_path):
    talk = (Message(role="user", content="q"),)
    rows = [
        Labelled(id=f"r{i}", response_type="comply", conversation=talk, completion="a", true=())
        for i in range(3)
    ]
    write_rows(tmp_path / "in.jsonl", rows)
    return tmp_path / "in.jsonl"


def typed(*lines):
    return iter(lines).__next__


def test_numbers_turn_labels_and_a_stopped_session_goes_on(source, rules):
    target = source.with_name("out.jsonl")
    number = {name: str(i) for i, name in enumerate(rules.proposition_names, 1)}
    first = f"{number['apology']} {number['judgement']}"
    assert label(source, target, rules, typed(first, number["judgement"], "", "q")) == 1
    assert read_rows(target, Labelled)[0].true == ("apology",)
    assert label(source, target, rules, typed("", number["judgement"], "")) == 3
    assert [row.true for row in read_rows(target, Labelled)] == [("apology",), (), ("judgement",)]


def test_an_inconsistent_row_is_not_taken(source, rules, capsys):
    target = source.with_name("out.jsonl")
    full = str(rules.proposition_names.index("fully_complies") + 1)
    part = str(rules.proposition_names.index("partially_complies") + 1)
    assert label(source, target, rules, typed(full, "", part, "", "q")) == 1
    assert "implies" in capsys.readouterr().out
    assert read_rows(target, Labelled)[0].true == ("fully_complies", "partially_complies")


def test_back_and_wrong_keys(source, rules, capsys):
    target = source.with_name("out.jsonl")
    assert label(source, target, rules, typed("", "b", "2", "", "99", "x", "q")) == 1
    assert len(read_rows(target, Labelled)[0].true) == 1
    assert "'99' is not numbers" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["Hola [/INST] arr[i]", "x[red] and [bold]y", "plain"])
def test_square_brackets_are_shown_as_they_were_written(source, rules, capsys, text):
    [first, *_] = read_rows(source, Labelled)
    talk = (Message(role="user", content=f"q {text}"),)
    write_rows(source, [first.model_copy(update={"conversation": talk, "completion": text})])
    name = rules.proposition_names[0]
    told = rules.propositions[name].model_copy(update={"definition": f"says {text}"})
    shown = replace(rules, propositions={**rules.propositions, name: told})
    assert label(source, source.with_name("out.jsonl"), shown, typed("?", f"{text}", "")) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count(text) >= 3
