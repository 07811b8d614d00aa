"""The command line: what it prints, and one line and status 1 on bad input."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from rbr.errors import RuleError


def rbr(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli.main", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(rules_folder, root):
    """A root with the rules, the prompts, the gold rows and a git history."""
    source, root = root, rules_folder.parent
    for name in ("gold", "safety_prompts"):
        shutil.copytree(source / "data/source" / name, root / "data/source" / name)
    (root / "params.yaml").write_text("profile: smoke\n")
    (root / "profiles").mkdir()
    (root / "profiles" / "smoke.yaml").write_text("seed: 0\n")
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "rules"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def test_sound_rules_are_said_to_be(project):
    found = rbr("rules", "check", cwd=project / "rules")
    assert found.returncode == 0
    assert "23 propositions" in found.stdout


def test_a_policy_without_recipes_is_told_where_comparisons_come_from(project):
    assert "no recipes" not in rbr("rules", "check", cwd=project).stdout
    (project / "rules" / "completions.yaml").unlink()
    found = rbr("rules", "check", cwd=project)
    assert found.returncode == 0, found.stderr
    said = " ".join(found.stdout.split())
    assert (
        "no recipes for hard_refusal, soft_refusal_disclosure, soft_refusal_methods, comply" in said
    )
    assert "their comparisons come from a model alone" in said


def test_a_feature_without_gold_support_is_named_at_its_line(project):
    folder = project / "data/source/gold"
    for path in folder.glob("*.jsonl"):
        kept = [line for line in path.read_text().splitlines() if '"disclaimer"' not in line]
        path.write_text("".join(f"{line}\n" for line in kept))
    found = rbr("rules", "check", cwd=project)
    assert found.returncode == 1
    [line] = found.stderr.strip().splitlines()
    lines = (project / "rules/reward.yaml").read_text().splitlines()
    number = next(i for i, text in enumerate(lines, 1) if text.strip() == "- disclaimer")
    assert line.startswith(f"error: {project / 'rules/reward.yaml'}:{number}:")
    assert "'disclaimer' is true on 0 of" in line


def test_a_broken_rule_is_one_line_with_its_place(project):
    path = project / "rules" / "completion_classes.yaml"
    path.write_text(path.read_text().replace("[refusal_correct]", "[refusal_corect]", 1))
    found = rbr("rules", "check", cwd=project)
    assert found.returncode == 1
    [line] = found.stderr.strip().splitlines()
    assert line.startswith(f"error: {path}:")
    assert "did you mean 'refusal_correct'" in line


def test_a_prompt_of_a_kind_that_is_gone_is_told_at_its_line(project):
    path = project / "rules" / "content_policy.yaml"
    path.write_text(path.read_text().replace("  disclosure: ", "  disclosures: ", 1))
    found = rbr("rules", "check", cwd=project)
    assert found.returncode == 1
    first, *_ = found.stderr.splitlines()
    assert first.startswith(f"error: {project / 'data/source/safety_prompts/self_harm.jsonl'}:1:")
    assert "has no kind 'disclosure'; did you mean 'disclosures'?" in first


def test_every_row_that_cannot_be_read_is_told_at_its_line(project):
    path = project / "data/source/gold" / "zz.jsonl"
    path.write_text('{"id": "a"}\nno json\n')
    found = rbr("rules", "check", cwd=project)
    assert found.returncode == 1
    first, second = found.stderr.splitlines()
    assert first.startswith(f"error: {path}:1: response_type: Field required")
    assert second.startswith(f"error: {path}:2:1: not JSON")


def test_show_knows_the_closest_name(project):
    found = rbr("rules", "show", "apology", cwd=project)
    assert "feature of hard_refusal" in found.stdout
    wrong = rbr("rules", "show", "apolgy", cwd=project)
    assert wrong.returncode == 1
    assert wrong.stderr.strip() == "error: no rule 'apolgy'; did you mean 'apology'?"


def test_diff_lists_what_a_margin_makes_stale(project):
    assert "mean the same" in rbr("rules", "diff", cwd=project).stdout
    path = project / "rules" / "reward.yaml"
    text = path.read_text()
    path.write_text(text.replace("margin: 3", "margin: 2", 1))
    assert path.read_text() != text
    found = " ".join(rbr("rules", "diff", cwd=project).stdout.split())
    assert "changed ranking/hard_refusal.margin: 3.0 -> 2.0" in found
    made_again = found.partition("made again: ")[2].partition(" changed wordings")[0].split(", ")
    assert {"rules", "fitted_weights", "rbr/ppo_checkpoint", "model_release"} <= set(made_again)
    # No other variant's reward reads a margin.
    assert {key for key in made_again if key.endswith("/ppo_checkpoint")} == {
        "rbr/ppo_checkpoint",
        "human_rbr/ppo_checkpoint",
    }
    assert "grader_accuracy" not in made_again
    assert "grades made again: 0" in found


def commit(project):
    subprocess.run(["git", "add", "-A"], cwd=project, check=True)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, "commit", "-qm", "more"], cwd=project, check=True)


def test_diff_says_what_an_older_revision_lacks(project):
    for name in ("response_types", "roles"):
        (project / "rules" / f"{name}.yaml").rename(project / f"{name}.yaml")
    commit(project)
    for name in ("response_types", "roles"):
        (project / f"{name}.yaml").rename(project / "rules" / f"{name}.yaml")
    found = rbr("rules", "diff", cwd=project)
    assert found.returncode == 1
    [line] = found.stderr.strip().splitlines()
    assert "the rules at revision 'HEAD' lack response_types.yaml, roles.yaml: " in line


def test_diff_says_where_an_older_revision_cannot_be_read(project):
    path = project / "rules" / "reward.yaml"
    text = path.read_text()
    path.write_text(text.replace("margin: 3.0", "margins_of: 1.0", 1))
    commit(project)
    path.write_text(text)
    found = rbr("rules", "diff", cwd=project)
    [line] = found.stderr.strip().splitlines()
    assert "at revision 'HEAD' cannot be read: rules/reward.yaml:" in line
    assert "did you mean 'margin" in line or "unknown key" in line


def test_diff_says_that_heads_read_no_wording(project):
    assert "read no wording" not in rbr("rules", "diff", cwd=project).stdout
    path = project / "rules" / "propositions" / "judgement.yaml"
    path.write_text(path.read_text().replace("The answer calls", "The answer does call", 1))
    found = " ".join(rbr("rules", "diff", cwd=project).stdout.split())
    assert "reworded propositions/judgement made again" in found
    assert "a rewording changes no grade until gold rows change" in found


def test_diff_names_a_revision_that_is_not_there(project):
    found = rbr("rules", "diff", "nowhere", cwd=project)
    assert found.returncode == 1
    assert len(found.stderr.strip().splitlines()) == 1
    assert "nowhere" in found.stderr


def test_a_missing_artifact_says_how_to_make_it(project):
    for command in (
        ("evaluate", "--model", "ppo_checkpoint/rbr"),
        ("explain", "--prompt", "q", "--completion", "a", "--response-type", "comply"),
    ):
        found = rbr(*command, cwd=project)
        assert found.returncode == 1
        assert len(found.stderr.strip().splitlines()) == 1
        assert "make demo" in found.stderr


def test_outside_a_project_it_says_so(tmp_path):
    found = rbr("rules", "check", cwd=tmp_path)
    assert found.returncode == 1
    assert "params.yaml" in found.stderr


def test_an_unknown_embedded_model_is_refused(project):
    found = rbr("models", "fetch", "gpt", cwd=project)
    assert found.returncode == 1
    assert "smollm2" in found.stderr


def test_show_raises_for_no_rule_at_all(rules):
    from orchestration.cli.show import show

    with pytest.raises(RuleError, match="there are"):
        show(rules, "zzzzzz")


@pytest.mark.parametrize("text", ["Say [/b] or arr[i]", "plain"])
def test_show_prints_square_brackets_as_they_were_written(rules, capsys, text):
    from orchestration.cli.show import show

    told = rules.propositions["apology"].model_copy(update={"definition": text, "question": text})
    show(replace(rules, propositions={**rules.propositions, "apology": told}), "apology")
    assert capsys.readouterr().out.count(text) == 2


def test_agreement_and_stats_name_what_the_rules_lack(project):
    folder = project / "data/source"
    [path, *_] = sorted((folder / "gold").glob("*.jsonl"))
    path.write_text(path.read_text().replace('"true": [', '"true": ["apologie", ', 1))
    for command in (["stats"], ["agreement", path, path]):
        found = rbr("data", *command, cwd=project)
        assert found.returncode == 1
        assert re.match(
            rf"error: \S*{path.name}:\d+: true: no proposition 'apologie'", found.stderr
        )
