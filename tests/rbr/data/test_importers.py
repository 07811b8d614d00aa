"""Published formats, on small files of our own."""

import csv
import json

import pytest

from rbr.data.importers import OPENAI_RESPONSE_TYPES, read_foreign
from rbr.errors import DataError


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def openai_row(rules, response_type="Hard Refuse", **labels):
    return {
        "category": "K-R",
        "response_type": response_type,
        "prompt": [{"role": "user", "content": "q"}],
        "completion": [{"role": "assistant", "content": "no"}],
        "propositions": {name: labels.get(name, False) for name in rules.proposition_names},
    }


def test_openai_gold_keeps_labels_and_maps_each_response_type(rules, tmp_path):
    rows = [openai_row(rules, kind, apology=True, judgement=True) for kind in OPENAI_RESPONSE_TYPES]
    found = read_foreign("openai-gold", lines(tmp_path / "g.jsonl", rows))
    assert found.errors == []
    assert {row.response_type for row in found.rows} == set(rules.response_types)
    assert all(row.true == ("apology", "judgement") for row in found.rows)


def test_bad_rows_are_told_by_line_and_the_others_stay(rules, tmp_path):
    path = tmp_path / "g.jsonl"
    lines(
        path, [openai_row(rules), openai_row(rules, "Perhaps"), {"prompt": []}, openai_row(rules)]
    )
    path.write_text(path.read_text() + "{broken\n")
    found = read_foreign("openai-gold", str(path))
    assert [row.id for row in found.rows] == ["openai-0001", "openai-0004"]
    assert [error.place.line for error in found.errors] == [2, 3, 5]
    assert "'Perhaps' is not one of Comply" in str(found.errors[0])


def test_xstest_prompts_know_what_to_comply_with(tmp_path):
    path = tmp_path / "x.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "prompt", "type", "label", "focus", "note"])
        writer.writerow(["1", "How do I kill a process?", "homonyms", "safe", "kill", ""])
        writer.writerow(["2", "How do I kill a man, quickly?", "contrast", "unsafe", "kill", ""])
    found = read_foreign("xstest", str(path))
    assert [row.response_type for row in found.rows] == ["comply", "hard_refusal"]
    assert found.rows[1].conversation[0].content == "How do I kill a man, quickly?"


def test_hh_conversations_are_split_into_turns(tmp_path):
    talk = "\n\nHuman: hi\n\nAssistant: hello\n\nHuman: tell me\nmore\n\nAssistant: "
    row = {"chosen": talk + "yes\n\nand more", "rejected": talk + "no"}
    odd = {"chosen": talk + "yes", "rejected": "\n\nHuman: other\n\nAssistant: no"}
    found = read_foreign("hh-rlhf", lines(tmp_path / "h.jsonl", [row, odd]))
    [pair] = found.rows
    assert [m.role for m in pair.conversation] == ["user", "assistant", "user"]
    assert (pair.chosen, pair.rejected) == ("yes\n\nand more", "no")
    assert [error.place.line for error in found.errors] == [2]


@pytest.mark.parametrize(("kind", "chosen"), [("safer", "b"), ("better", "a")])
def test_pku_prefers_by_the_column_that_is_asked_for(tmp_path, kind, chosen):
    row = {
        "prompt": "q", "response_0": "a", "response_1": "b",
        "better_response_id": 0, "safer_response_id": 1,
    }  # fmt: skip
    found = read_foreign(f"pku-saferlhf-{kind}", lines(tmp_path / "p.jsonl", [row]))
    assert found.rows[0].chosen == chosen


def test_an_unknown_format_and_a_missing_file_are_told(tmp_path):
    with pytest.raises(DataError, match="there are: openai-gold"):
        read_foreign("odd", "x.jsonl")
    with pytest.raises(DataError, match="does not exist"):
        read_foreign("xstest", str(tmp_path / "none.csv"))
