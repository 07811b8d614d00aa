"""Which prompts ``rbr evaluate`` reads."""

import json

import pytest

from orchestration.cli.evaluate import read_prompts
from rbr.errors import DataError


def test_openais_gold_gives_each_prompt_once(tmp_path):
    row = {
        "category": "K-R",
        "response_type": "Hard Refuse",
        "prompt": [{"role": "user", "content": "q"}],
        "completion": [{"role": "assistant", "content": "no"}],
        "propositions": {"apology": False},
    }
    other = {**row, "response_type": "Comply", "prompt": [{"role": "user", "content": "r"}]}
    path = tmp_path / "gold.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in (row, row, other)))
    found = read_prompts(path)
    assert [p.conversation[0].content for p in found] == ["q", "r"]
    assert [p.response_type for p in found] == ["hard_refusal", "comply"]


def test_a_bad_row_is_told_by_its_line(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("id,type,label,focus,note,prompt\n1,t,safe,,,hello\n2,t,perhaps,,,hello\n")
    with pytest.raises(DataError, match=r"x\.csv.*3.*perhaps"):
        read_prompts(path)


def test_a_file_without_prompts_says_so(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("id,type,label,focus,note,prompt\n")
    with pytest.raises(DataError, match="no prompts"):
        read_prompts(path)
