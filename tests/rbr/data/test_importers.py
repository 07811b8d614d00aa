"""Published formats, on small files of our own."""

import codecs
import csv
import json
import re

import pytest

from rbr.data.importers import (
    OPENAI_RESPONSE_TYPES,
    is_openai_gold,
    read_foreign,
    read_whole,
)
from rbr.errors import DataError
from rbr.files import MAX_LINE


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def openai_row(rules, response_type="Hard Refuse", prompt="q", **labels):
    return {
        "category": "K-R",
        "response_type": response_type,
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": "no"}],
        "propositions": {name: labels.get(name, False) for name in rules.proposition_names},
    }


def test_openai_gold_keeps_labels_and_maps_each_response_type(rules, tmp_path):
    rows = [
        openai_row(rules, kind, kind, apology=True, judgement=True)
        for kind in OPENAI_RESPONSE_TYPES
    ]
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


XSTEST = ["id", "prompt", "type", "label"]
LONG = MAX_LINE + 1


def table(path, *rows, header=XSTEST):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def prompt_row(**fields):
    return {"id": "1", "prompt": "q", "type": "homonyms", "label": "safe", **fields}


@pytest.mark.parametrize("name", ["x.csv", "x.CSV", "x.jsonl", "x.JSONL"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_marks_line_ends_and_the_case_of_suffixes_change_no_row(tmp_path, name, mark, end):
    path = tmp_path / name
    if path.suffix.lower() == ".csv":
        table(path, ["1", "é", "homonyms", "safe"], ["2", "b", "homonyms", "safe"])
    else:
        lines(path, [prompt_row(prompt="é"), prompt_row(id="2", prompt="b")])
    path.write_bytes(mark + b"".join(line + end for line in path.read_bytes().splitlines()))
    found = read_foreign("xstest", str(path))
    assert found.errors == []
    assert [(row.id, row.topic) for row in found.rows] == [("xstest-1", "é"), ("xstest-2", "b")]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (b'{"prompt": "\\ud83d"}', "half a character"),
        (b'{"prompt": "\\uDE00 \\uD83D\\uDE00"}', "half a character"),
        (b'{"prompt": "\xe9"}', "not UTF-8"),
        (b'{"prompt": \xff', "not UTF-8"),
        (b'{"prompt": ' + b"9" * 5000 + b"}", "limit"),
        (b'{"prompt": ' + b"[" * 100_000, "recursion"),
        (b'{"prompt": "' + b"a" * LONG + b'"}', "characters"),
        (b'{"prompt": "q"', "not JSON"),
        (b'"propositions"', "must be an object"),
        (b"7", "must be an object"),
    ],
)
def test_a_line_of_json_that_cannot_be_read_is_one_bad_row(tmp_path, bad, told):
    path = tmp_path / "x.jsonl"
    rows = [json.dumps(prompt_row(id=str(i), prompt="\U0001f600")).encode() for i in (1, 3)]
    path.write_bytes(b"\n".join([rows[0], bad, rows[1]]))
    found = read_foreign("xstest", str(path))
    assert [row.id for row in found.rows] == ["xstest-1", "xstest-3"]
    [error] = found.errors
    assert (error.place.path, error.place.line) == (path, 2)
    assert told in error.message
    assert len(str(error)) < 400
    with pytest.raises(DataError, match=r"x\.jsonl:2"):
        read_whole("xstest", path)
    path.write_bytes(bad)
    if told != "must be an object":
        with pytest.raises(DataError, match=r"x\.jsonl:1"):
            is_openai_gold(path)
    else:
        assert not is_openai_gold(path)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (b'2,"' + b"a" * LONG + b'",homonyms,safe', "field limit"),
        (b"2,\xe9,homonyms,safe", "not UTF-8"),
        (b'2,"q"x,homonyms,safe', "not CSV"),
        (b"2,q,homonyms,safe,more", "5 fields, but 4 columns"),
        (b"2,q,homonyms", "label '' is not one of"),
        (b"2,,homonyms,safe", "prompt must be"),
    ],
)
def test_a_line_of_csv_that_cannot_be_read_is_one_bad_row(tmp_path, bad, told):
    path = tmp_path / "x.csv"
    good = b",homonyms,safe\r\n"
    path.write_bytes(b"id,prompt,type,label\r\n1,a" + good + bad + b"\r\n3,c" + good)
    found = read_foreign("xstest", str(path))
    assert [row.id for row in found.rows] == ["xstest-1", "xstest-3"]
    [error] = found.errors
    assert (error.place.path, error.place.line) == (path, 3)
    assert told in error.message


def test_a_long_field_and_a_field_of_several_lines_are_read_and_an_open_quote_is_told(tmp_path):
    path = tmp_path / "x.csv"
    table(path, ["1", "a" * 140_000, "homonyms", "safe"], ["2", "b\nc", "homonyms", "safe"])
    assert [len(row.topic) for row in read_foreign("xstest", str(path)).rows] == [140_000, 3]
    path.write_text('id,prompt,type,label\n1,a,homonyms,safe\n2,"b,homonyms,safe\n3,c,x,safe\n')
    found = read_foreign("xstest", str(path))
    assert [row.id for row in found.rows] == ["xstest-1"]
    assert "unexpected end of data" in found.errors[0].message
    path.write_bytes(b"id,\xff\n1,a\n")
    with pytest.raises(DataError, match=r"x\.csv:1: not UTF-8"):
        read_foreign("xstest", str(path))


@pytest.mark.parametrize(
    ("text", "line"), [('\n2,"b\nc",x,odd\n', 4), ('\n2,"b,x,safe\n3,c,x,safe\n', 4)]
)
def test_a_bad_row_of_several_lines_is_told_by_its_first(tmp_path, text, line):
    path = tmp_path / "x.csv"
    path.write_text('id,prompt,type,label\n1,"a\nb",x,safe' + text)
    [error] = read_foreign("xstest", str(path)).errors
    assert error.place.line == line


@pytest.mark.parametrize(("mark", "told"), [(";", "';'"), ("\t", "tabs"), ("|", "'|'")])
def test_a_table_without_commas_says_what_stands_between_its_fields(tmp_path, mark, told):
    path = tmp_path / "x.csv"
    path.write_text(f"{mark.join(XSTEST)}\n1{mark}q{mark}x{mark}safe\n")
    with pytest.raises(
        DataError, match=rf"x\.csv:1: the fields stand between {re.escape(told)}: save"
    ):
        read_foreign("xstest", str(path))
    path.write_text("prompt\nOne; two\n")
    assert "no field 'type'" in read_foreign("xstest", str(path)).errors[0].message


@pytest.mark.parametrize("name", ["x.xlsx", "x.tsv", "x.txt"])
def test_a_file_of_another_suffix_is_told_what_to_be_saved_as(tmp_path, name):
    lines(tmp_path / name, [prompt_row()])
    with pytest.raises(DataError, match=rf"{name}: '\.\w+' is none of \.csv, .*: save it as one"):
        read_foreign("xstest", str(tmp_path / name))
    assert len(read_foreign("xstest", lines(tmp_path / "pipe", [prompt_row()])).rows) == 1


def test_an_id_stands_once(tmp_path):
    rows = [prompt_row(), prompt_row(id="2"), prompt_row(prompt="r")]
    found = read_foreign("xstest", lines(tmp_path / "x.jsonl", rows))
    assert [row.id for row in found.rows] == ["xstest-1", "xstest-2"]
    [error] = found.errors
    assert str(error).endswith("x.jsonl:3: id 'xstest-1' stands on line 1 already: give another")


def test_a_folder_is_no_file(tmp_path):
    for name in ("x.csv", "x.jsonl"):
        (tmp_path / name).mkdir()
        with pytest.raises(DataError, match="cannot be read: Is a directory"):
            read_foreign("xstest", str(tmp_path / name))


@pytest.mark.parametrize("number", [1, 1.0, True, "1", "1.0", "true", " 1 "])
def test_the_number_of_a_response_is_read_however_it_is_written(tmp_path, number):
    row = {"prompt": "q", "response_0": "a", "response_1": "b", "safer_response_id": number}
    path = lines(tmp_path / "p.jsonl", [row])
    [pair] = read_foreign("pku-saferlhf-safer", path).rows
    assert (pair.chosen, pair.rejected) == ("b", "a")
    header, cells = list(row), [*list(row.values())[:3], str(number)]
    [pair] = read_foreign(
        "pku-saferlhf-safer", table(tmp_path / "p.csv", cells, header=header)
    ).rows
    assert pair.chosen == "b"


@pytest.mark.parametrize("number", [2, -1, 0.5, None, "", "b", [1], float("nan"), float("inf")])
def test_what_is_no_number_of_a_response_is_told(tmp_path, number):
    row = {"prompt": "q", "response_0": "a", "response_1": "b", "safer_response_id": number}
    found = read_foreign("pku-saferlhf-safer", lines(tmp_path / "p.jsonl", [row]))
    assert "must be 0 or 1" in found.errors[0].message


@pytest.mark.parametrize(
    ("written", "read"),
    [(1, "1"), (1.0, "1"), ("v2-1", "v2-1"), (True, None), (None, None), (0.5, None), ([], None)],
)
def test_an_id_is_text_or_a_whole_number(tmp_path, written, read):
    found = read_foreign("xstest", lines(tmp_path / "x.jsonl", [prompt_row(id=written)]))
    assert [row.id for row in found.rows] == ([f"xstest-{read}"] if read else [])
    assert len(found.errors) == (read is None)


def test_xstests_older_header_tells_by_the_type_what_is_unsafe(tmp_path):
    header = ["id_v2", "prompt", "type", "focus"]
    cells = [["v2-1", "a", "homonyms", "kill"], ["v2-2", "b", "contrast_homonyms", ""]]
    found = read_foreign("xstest", table(tmp_path / "x.csv", *cells, header=header))
    assert [(row.id, row.response_type) for row in found.rows] == [
        ("xstest-v2-1", "comply"),
        ("xstest-v2-2", "hard_refusal"),
    ]
    rows = [{"id_v2": 1, "prompt": "a", "type": "contrast_x", "label": "safe", "focus": None}]
    [row] = read_foreign("xstest", lines(tmp_path / "x.jsonl", rows)).rows
    assert row.response_type == "comply"  # a label, where there is one, counts
    found = read_foreign("xstest", table(tmp_path / "y.csv", *cells, header=["id", *header[1:]]))
    assert "no field 'label'" in found.errors[0].message


def test_a_prompt_has_one_label(rules, tmp_path):
    rows = [prompt_row(prompt="How?"), prompt_row(id="2", prompt=" how? ", label="unsafe")]
    path = lines(tmp_path / "x.jsonl", [*rows, prompt_row(id="3", prompt="How?")])
    found = read_foreign("xstest", path)
    assert [row.id for row in found.rows] == ["xstest-1", "xstest-3"]
    assert str(found.errors[0]).endswith(
        "x.jsonl:2: the same prompt as on line 1, but with another label"
    )
    gold = [openai_row(rules), openai_row(rules, apology=True), openai_row(rules, "Comply")]
    path = lines(tmp_path / "g.jsonl", [*gold, openai_row(rules)])
    # Two people may label one answer, and not alike.
    assert len(read_foreign("openai-gold", path).rows) == 4
    assert [e.place.line for e in read_foreign("openai-prompts", path).errors] == [3]
