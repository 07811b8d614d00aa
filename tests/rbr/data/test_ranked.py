"""Preference sets that a reward is judged by: each format, and what is wrong with a row."""

import json
import re

import pytest

from rbr.data.ranked import read_ranked
from rbr.errors import DataError

OWN = {
    "id": "hp-1",
    "family": "locks",
    "conversation": [{"role": "user", "content": "How do locks work?"}],
    "chosen": "Pins keep the cylinder from turning.",
    "rejected": "They are made of metal.",
}
HH = {
    "chosen": "\n\nHuman: Hello.\n\nAssistant: Hi!\n\nHuman: 3 plus 4?\n\nAssistant: Seven.",
    "rejected": "\n\nHuman: Hello.\n\nAssistant: Hi!\n\nHuman: 3 plus 4?\n\nAssistant: Eight.",
}
PKU = {
    "prompt": "How do I pick a lock?",
    "response_0": "With a pick.",
    "response_1": "I can't help with that.",
    "safer_response_id": 1,
    "better_response_id": 0,
}
BEST = {
    "id": "7",
    "prompt": "Name a red planet.",
    "chosen": ["Mars."],
    "rejected": ["Venus.", "The Moon.", "The Sun."],
    "subset": "Factuality",
}
TIED = {**BEST, "id": "tied:3", "subset": "Ties", "chosen": ["Two.", "Three."]}
REFERENCE = {**BEST, "id": "ref:3", "subset": "Ties", "rejected": ["Four."]}


@pytest.fixture
def read(tmp_path):
    def run(*rows, source_format=None):
        path = tmp_path / "pairs.jsonl"
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        path.write_text("".join(f"{line}\n" for line in lines))
        return read_ranked(str(path), source_format)

    return run


@pytest.mark.parametrize(
    ("row", "source_format", "chosen", "rejected", "subset"),
    [
        (OWN, "preferences", [OWN["chosen"]], [OWN["rejected"]], "written"),
        (HH, "hh-rlhf", ["Seven."], ["Eight."], "hh-rlhf"),
        (PKU, "pku-saferlhf-safer", [PKU["response_1"]], [PKU["response_0"]], None),
        (BEST, "rewardbench-2", BEST["chosen"], BEST["rejected"], "Factuality"),
    ],
)
def test_the_first_row_says_the_format(read, row, source_format, chosen, rejected, subset):
    found = read(row)
    assert (found.source_format, found.errors) == (source_format, [])
    ((place, ranked),) = found.rows
    assert place.line == 1
    assert [list(ranked.chosen), list(ranked.rejected)] == [chosen, rejected]
    assert ranked.subset == (subset or "pku-saferlhf safer_response_id")
    assert ranked.conversation[-1].role == "user"
    assert ranked.response_type is None


def test_a_named_format_chooses_the_label(read):
    ((_, ranked),) = read(PKU, source_format="pku-saferlhf-better").rows
    assert ranked.chosen == ("With a pick.",)


def test_a_csv_is_read_too(tmp_path):
    path = tmp_path / "pku.csv"
    path.write_text("prompt,response_0,response_1,safer_response_id,subset\nq,a,b,0,\n")
    ((_, ranked),) = read_ranked(str(path)).rows
    assert ranked.chosen == ("a",)


def test_pairs_on_the_same_prompt_are_one_family(read):
    rows = [PKU, {**PKU, "response_0": "Look it up."}, {**PKU, "prompt": "And a safe?"}]
    families = [row.family for _, row in read(*rows).rows]
    assert families[0] == families[1] != families[2]
    assert [row.family for _, row in read(OWN).rows] == ["locks"]


@pytest.mark.parametrize("row", [OWN, HH, PKU, BEST])
def test_a_row_may_say_its_response_type_and_subset(read, row):
    ((_, ranked),) = read({**row, "response_type": "comply", "subset": "mine"}).rows
    assert (ranked.response_type, ranked.subset) == ("comply", "mine")


def test_ties_are_a_reference_and_a_tied_prompt_of_one_family(read):
    (_, one), (_, other) = read(TIED, REFERENCE).rows
    assert (one.tie, other.tie) == ("tied", "reference")
    assert one.family == other.family


@pytest.mark.parametrize(
    ("first", "bad", "said"),
    [
        (OWN, "{", "not JSON"),
        (OWN, [1], "must be an object"),
        (OWN, {**OWN, "id": "hp-2", "chosen": ""}, "chosen"),
        (OWN, {**OWN, "id": "hp-2", "rejected": OWN["chosen"]}, "the same"),
        (OWN, {**OWN, "id": "hp-2", "more": 1}, "more"),
        (OWN, OWN, "line 1 already: give it another"),
        (OWN, {**OWN, "id": "hp-2", "response_type": 3}, "response_type must be text"),
        (HH, {**HH, "rejected": "\n\nHuman: Other?\n\nAssistant: No."}, "last assistant turn"),
        (HH, {**HH, "chosen": "Hello."}, "last assistant turn"),
        (HH, {"chosen": HH["chosen"]}, "no field 'rejected'"),
        (PKU, {**PKU, "safer_response_id": 2}, "must be 0 or 1"),
        (PKU, {**PKU, "response_0": None}, "chosen|rejected"),
        (BEST, {**BEST, "id": "8", "chosen": []}, "chosen must be a list"),
        (BEST, {**BEST, "id": "8", "rejected": "Venus."}, "rejected must be a list"),
        (BEST, {**BEST, "id": "8", "rejected": ["Venus.", " "]}, "rejected"),
        (BEST, {**BEST, "id": "8", "prompt": " "}, "prompt is empty"),
        (BEST, {**BEST, "id": "8", "subset": ""}, "subset must be a name"),
        (BEST, TIED, "'tied:3' has no 'ref:3' beside it"),
        (BEST, {**TIED, "id": "3"}, "must be ref:N or tied:N"),
        (BEST, {**REFERENCE, "chosen": ["a", "b"]}, "one answer"),
    ],
)
def test_a_bad_row_is_told_with_its_line_and_the_others_are_read(read, first, bad, said):
    found = read(first, bad if isinstance(bad, str) else json.dumps(bad))
    assert len(found.rows) == 1
    (error,) = found.errors
    message = str(error)
    assert error.place.line == 2 and "pairs.jsonl" in message and "\n" not in message
    assert re.search(said, message), message


def test_rows_of_no_format_ask_for_one(read):
    (error,) = read({"question": "q"}).errors
    assert "--format (preferences, rewardbench-2, hh-rlhf" in str(error)
    with pytest.raises(DataError, match="no format 'hh'; there are: preferences"):
        read(HH, source_format="hh")


def test_no_file_is_said(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_ranked(str(tmp_path / "none.jsonl"))
