"""``rbr rules check`` finds what would stop a run hours later."""

import json

import pytest
import typer

from orchestration.cli.rules import check


def told(project, capsys):
    """The errors of a project whose rules do not pass."""
    with pytest.raises(typer.Exit):
        check(root=project)
    return capsys.readouterr().err.splitlines()


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("name", ["gold/more.json", "safety_prompts/more.CSV"])
def test_rows_in_a_file_that_nothing_reads_are_told(written, capsys, name):
    path = written / "data" / "source" / name
    path.write_text("[]")
    said = "read by nothing: rows stand in *.jsonl files, one a line"
    assert told(written, capsys) == [f"error: {path}: {said}"]


def test_hidden_files_and_notes_beside_the_rows_are_passed_over(written, capsys):
    for name in ("._gold.jsonl", "._gold.json", "README.md"):
        (written / "data" / "source" / "gold" / name).write_bytes(b"\x00\xff")
    check(root=written)
    assert "fine" in capsys.readouterr().out


def test_an_unused_derived_proposition_is_told(written, capsys):
    path = written / "rules" / "derived.yaml"
    path.write_text(path.read_text() + "spare: {all: [apology]}\n")
    [line] = told(written, capsys)
    assert line.startswith(f"error: {path}:{len(path.read_text().splitlines())}:1: 'spare' is used")


def test_a_label_without_recipes_that_nothing_can_be_of_is_told(written, capsys):
    (written / "rules" / "completions.yaml").unlink()
    # Who answers in full is told from who answers in part by these roles alone.
    edit(written / "rules" / "roles.yaml", "\ncomplied:", "\n# complied:")
    lines = told(written, capsys)
    assert lines and all(f"{written / 'rules' / 'reward.yaml'}:" in line for line in lines)
    assert any("makes a completion 'full' of 'comply': give it a class" in line for line in lines)


def test_a_split_without_another_prompts_answer_is_told(written, capsys):
    folder = written / "data" / "source" / "safety_prompts"
    for path in folder.glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            if "answer" in row:
                row["family"] = "all-alike"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = next(line for line in told(written, capsys) if "other_answer" in line)
    assert "'off_topic' of 'comply' takes another prompt's answer" in line
    assert "write answers to prompts of more families" in line
