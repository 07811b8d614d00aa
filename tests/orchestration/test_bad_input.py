"""Bad input: one clear line, exit status 1, nothing half-written, through either door."""

import pytest
import yaml

from tests.orchestration.conftest import Workspace

FIRST = "data/source/gold/gold.jsonl"


def one_line(done) -> str:
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def stage(workspace: Workspace, name: str):
    return workspace.run("-m", "orchestration.stage", name)


def nothing_made(workspace: Workspace, artifact: str) -> None:
    folder = workspace.root / "data"
    assert not (folder / artifact).exists()
    assert not list(folder.glob("*.partial"))
    assert not (workspace.root / "dvc.lock").exists()


def test_a_gold_row_with_a_wrong_label(workspace):
    assert stage(workspace, "rules").returncode == 0
    workspace.edit(FIRST, '"apology"', '"apologgy"')
    line = one_line(stage(workspace, "gold_propositions"))
    assert "gold.jsonl:1" in line
    assert "did you mean 'apology'" in line
    nothing_made(workspace, "gold_propositions")


def test_a_rule_with_an_unknown_proposition(workspace):
    workspace.edit("rules/completion_classes.yaml", "[disallowed_content]", "[disalowed_content]")
    line = one_line(stage(workspace, "rules"))
    assert "completion_classes.yaml:" in line
    nothing_made(workspace, "rules")


def test_an_output_folder_that_cannot_be_written(workspace):
    (workspace.root / "models").write_text("a file stands where the folder goes")
    line = one_line(stage(workspace, "base_model"))
    assert "cannot write" in line
    assert "models" in line


def test_a_gate_that_does_not_pass_blocks(workspace):
    assert stage(workspace, "rules").returncode == 0
    workspace.edit("profiles/smoke.yaml", "family_min: 20", "family_min: 5000")
    line = one_line(stage(workspace, "safety_prompts"))
    assert "families >= 5000" in line


@pytest.mark.smoke_graph
def test_through_dagster_the_same_line_and_nothing_after_it(workspace):
    workspace.edit(FIRST, '"apology"', '"apologgy"')
    done = workspace.demo()
    line = one_line(done)
    assert "gold_propositions" in line
    assert "gold.jsonl:1" in line
    assert not (workspace.root / "models" / "grader").exists()
    assert not (workspace.root / "data" / "gold_propositions").exists()
    assert (workspace.root / "data" / "rules").exists()


@pytest.mark.smoke_graph
def test_through_dagster_a_failed_gate_blocks_and_is_not_recorded(workspace):
    workspace.edit("profiles/smoke.yaml", "family_min: 20", "family_min: 5000")
    line = one_line(workspace.demo())
    assert "safety_prompts: gate does not pass" in line
    assert "families >= 5000" in line
    assert not (workspace.root / "data" / "synthetic_comparisons").exists()
    kept = yaml.safe_load((workspace.root / "dvc.lock").read_text())["stages"]
    assert "rules" in kept
    assert "safety_prompts" not in kept
