"""Evaluation sets in their published columns, on rows of our own."""

import codecs
import csv
import json
import math

import pyarrow
import pytest
from pyarrow import parquet

from rbr.data.evaluation_sets import SETS, for_policy
from rbr.data.importers import PROMPT_FORMATS, read_foreign
from rbr.errors import DataError
from rbr.rules import load_rules

Q = "How do I bake bread?"
# A row as it is published, and: is it to be complied with, its category, and its labelled answers.
ROWS = {
    "strongreject": (
        {"category": "Baking", "source": "custom", "forbidden_prompt": Q},
        (False, "Baking", []),
    ),
    "or-bench": ({"prompt": Q, "category": "baking"}, (True, "baking", [])),
    "or-bench-toxic": ({"prompt": Q, "category": "baking"}, (False, "baking", [])),
    "harmbench": (
        {
            "Behavior": Q,
            "FunctionalCategory": "standard",
            "SemanticCategory": "baking",
            "Tags": "",
            "ContextString": "",
            "BehaviorID": "bake_bread",
        },
        (False, "baking", []),
    ),
    "wildguard": (
        {
            "prompt": Q,
            "adversarial": "False",
            "response": "No.",
            "prompt_harm_label": "unharmful",
            "response_refusal_label": "refusal",
            "response_harm_label": "unharmful",
            "subcategory": "benign",
        },
        (True, "benign", [("No.", False, True)]),
    ),
    "do-not-answer": (
        {
            "id": "7",
            "risk_area": "Kitchens",
            "types_of_harm": "burns",
            "specific_harms": "hot ovens",
            "question": Q,
            "GPT4_response": "Knead it.",
            "GPT4_harmful": "1.0",
            "GPT4_action": "5",
            "claude_response": "No.",
            "claude_harmful": "0",
            "llama2_response": "Nobody labelled this.",
            "llama2_harmful": "",
        },
        (False, "Kitchens", [("Knead it.", True, None), ("No.", False, None)]),
    ),
    "beavertails": (
        {"prompt": Q, "response": "Knead it.", "category": "{}", "is_safe": "False"},
        (False, "beavertails", [("Knead it.", True, None)]),
    ),
    "beavertails-evaluation": (
        {"prompt": Q, "category": "baking", "category_id": "3"},
        (False, "baking", []),
    ),
}


def written(path, rows):
    """The rows in the format of the file's suffix."""
    match path.suffix.lower():
        case ".csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        case ".json":
            path.write_text(json.dumps(rows, indent=1))
        case ".parquet":
            parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        case _:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_each_set_has_a_row_here():
    assert set(ROWS) == set(SETS) < set(PROMPT_FORMATS)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("suffix", ["csv", "JSON", "jsonl", "PARQUET"])
def test_a_published_row_is_read_from_every_kind_of_file(tmp_path, name, suffix):
    fields, (safe, category, answers) = ROWS[name]
    found = read_foreign(name, written(tmp_path / f"x.{suffix}", [fields]))
    assert found.errors == []
    [row] = found.rows
    assert (row.over_refusal, row.category, row.conversation[0].content) == (safe, category, Q)
    assert [(a.completion, a.disallowed, a.refused) for a in found.answers] == answers


@pytest.mark.parametrize("name", ROWS)
def test_a_row_without_its_prompt_is_named_by_its_line(tmp_path, name):
    fields, _ = ROWS[name]
    column = SETS[name].prompt
    rows = [fields, {**fields, column: " "}, {k: v for k, v in fields.items() if k != column}]
    found = read_foreign(name, written(tmp_path / "x.jsonl", rows))
    assert len(found.rows) == 1
    assert [error.place.line for error in found.errors] == [2, 3]
    assert f"{column} must be a non-empty text" in found.errors[0].message
    assert f"no field '{column}' in this row; is it of format '{name}'?" in str(found.errors[1])


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("wildguard", "prompt_harm_label", "perhaps"),
        ("wildguard", "response_harm_label", "1"),
        ("wildguard", "response_refusal_label", "no"),
        ("do-not-answer", "claude_harmful", "2"),
        ("beavertails", "is_safe", "maybe"),
    ],
)
def test_a_label_that_is_none_is_told(tmp_path, name, column, value):
    rows = [{**ROWS[name][0], column: value}]
    found = read_foreign(name, written(tmp_path / "x.csv", rows))
    assert (found.rows, found.answers) == ([], [])
    assert f"x.csv:2: {column} '{value}' is not one of" in str(found.errors[0])


def test_a_prompt_that_annotators_did_not_agree_on_is_no_row_and_no_error(tmp_path):
    fields = {**ROWS["wildguard"][0], "prompt_harm_label": None}
    found = read_foreign("wildguard", written(tmp_path / "x.jsonl", [fields]))
    assert (found.rows, found.errors, found.unlabelled) == ([], [], [1])
    assert len(found.answers) == 1  # whose own labels hold all the same
    [answer] = read_foreign(
        "do-not-answer",
        written(tmp_path / "y.jsonl", [{**ROWS["do-not-answer"][0], "claude_harmful": math.nan}]),
    ).answers
    assert answer.completion == "Knead it."


def test_a_context_goes_before_the_prompt_that_is_about_it(tmp_path):
    fields = {**ROWS["harmbench"][0], "ContextString": "A recipe."}
    [row] = read_foreign("harmbench", written(tmp_path / "x.csv", [fields])).rows
    assert row.conversation[0].content == f"A recipe.\n\n---\n\n{Q}"
    assert (row.topic, row.kind) == (Q, "standard")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_of_an_array_are_named_by_the_line_that_they_begin_on(tmp_path, end):
    path = tmp_path / "x.json"
    text = '[{"prompt": "a",\n"category": "c"},\n\n{"prompt": ""},\n{"prompt": "\\ud800"}\n, 7]'
    path.write_bytes(codecs.BOM_UTF8 + text.replace("\n", end).encode())
    found = read_foreign("or-bench", str(path))
    assert [row.id for row in found.rows] == ["or-bench-000001"]
    assert [error.place.line for error in found.errors] == [4, 5, 6]
    messages = ("non-empty", "half a character", "must be an object")
    assert all(m in e.message for m, e in zip(messages, found.errors, strict=True))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[{"prompt": "a"},\n{"prompt": "b"', 2),
        ('[{"prompt": "a"},\n\n', 3),
        ('[{"prompt": "a"}\n{"prompt": "b"}]', 2),
        ('[{"prompt": "a"},\n' + "[" * 100_000, 2),
    ],
)
def test_an_array_that_is_cut_off_is_told_where(tmp_path, text, line):
    path = tmp_path / "x.json"
    path.write_text(text)
    found = read_foreign("or-bench", str(path))
    assert len(found.rows) == 1
    [error] = found.errors
    assert error.place.line == line
    assert "not JSON" in error.message
    assert "nothing after it is read" in error.message


@pytest.mark.parametrize("name", ["x.csv", "x.json", "x.jsonl", "x.parquet"])
def test_a_file_that_is_missing_or_empty_or_a_folder_is_one_line(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(DataError, match="does not exist"):
        read_foreign("or-bench", str(path))
    path.touch()
    if path.suffix == ".parquet":
        with pytest.raises(DataError, match=r"x\.parquet: no parquet file that can be read"):
            read_foreign("or-bench", str(path))
    else:
        assert read_foreign("or-bench", str(path)).rows == []
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=r"x\.\w+: "):
        read_foreign("or-bench", str(path))


def test_a_data_set_of_a_hub_is_read_by_name_and_one_that_cannot_be_had_is_one_line(monkeypatch):
    asked = []

    def load(name, config, split):
        asked.append((name, config, split))
        if name == "owner/none":
            raise ConnectionError("no route\nto host")
        return [{"prompt": Q, "category": "baking"}, {"category": "baking"}]

    monkeypatch.setattr("datasets.load_dataset", load)
    found = read_foreign("or-bench", "owner/name", "test", "hard")
    assert asked == [("owner/name", "hard", "test")]
    assert (len(found.rows), [error.place.line for error in found.errors]) == (1, [2])
    with pytest.raises(DataError) as raised:
        read_foreign("or-bench", "owner/none")
    assert "'owner/none' (no route); check the name and the network, or give a file" in str(
        raised.value
    )


def test_a_response_type_that_the_rules_lack_becomes_the_first_of_its_side(rules, root, tmp_path):
    rows = [{**ROWS["wildguard"][0], "prompt": "b", "prompt_harm_label": "harmful"}]
    path = written(tmp_path / "x.csv", [ROWS["wildguard"][0], *rows])
    prompts = read_foreign("wildguard", path).rows
    assert [p.response_type for p in for_policy(prompts, rules)] == ["comply", "hard_refusal"]
    bank = load_rules(root / "examples" / "assistant" / "rules")
    own = [p.response_type for p in for_policy(prompts, bank)]
    assert own == ["comply", "refuse_with_explanation"]
    only = {name: rule for name, rule in bank.types.items() if rule.counts == "over_refusal"}
    with pytest.raises(DataError, match="counts as unsafe"):
        for_policy(prompts, bank.__class__(**{**vars(bank), "types": only}))
