"""What goes wrong around a command is one line that names the mend."""

import subprocess

import pytest

from orchestration.cli import common
from orchestration.cli.evaluate import evaluate
from orchestration.cli.grader import grade
from rbr.errors import RBRError


def test_an_artifact_that_is_not_there_is_told_with_those_that_are(context, made_of):
    with pytest.raises(
        RBRError, match=r"no artifact 'ppo_checkpoint/nope'; .*none yet: `make demo`"
    ):
        common.model_source(context, "ppo_checkpoint/nope")
    made_of("rbr/ppo_checkpoint", {"config.json": "{}"})
    made_of("base_model", {"config.json": "{}"})
    with pytest.raises(RBRError) as refused:
        common.model_source(context, "ppo_checkpoint/nope")
    assert refused.value.message.endswith("there are: base_model, ppo_checkpoint/rbr")


def test_a_model_is_found_by_key_path_and_folder(context, made_of):
    folder = made_of("rbr/ppo_checkpoint", {"config.json": "{}"})
    names = ("rbr/ppo_checkpoint", "ppo_checkpoint/rbr", str(folder))
    assert {common.model_source(context, name) for name in names} == {folder}
    assert common.model_source(context, "someone/a-model") == "someone/a-model"


@pytest.mark.parametrize("name", ["./nope", "/nope/model", "~/nope", "a/b/c"])
def test_a_folder_that_is_not_there_is_not_asked_of_the_hub(context, name):
    with pytest.raises(RBRError, match="no such folder"):
        common.model_source(context, name)


def test_evaluate_says_so_before_it_loads_anything(written):
    with pytest.raises(RBRError, match="no artifact 'ppo_checkpoint/nope'"):
        evaluate(model="ppo_checkpoint/nope", root=written)


def test_an_output_folder_that_cannot_be_made_is_one_line(written):
    (written / "file").write_text("")
    with pytest.raises(RBRError, match=r"cannot be made \(.*\): give another --out"):
        evaluate(model="someone/a-model", out=written / "file" / "out", root=written)


@pytest.mark.parametrize("completion", ["", "  ", "...", "<think>hm</think>"])
def test_an_answer_without_text_is_not_graded(written, completion):
    with pytest.raises(RBRError, match="--completion has no text: give an answer to grade"):
        grade(prompt="q", completion=completion, root=written)


def test_a_prompt_without_text_is_not_graded(written):
    with pytest.raises(RBRError, match="--prompt is empty"):
        grade(prompt=" ", completion="a", root=written)


def test_a_folder_with_other_content_is_not_replaced(tmp_path):
    common.check_target(tmp_path, "reward.json")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(RBRError, match=r"not empty, and without reward.json"):
        common.check_target(tmp_path, "reward.json")
    (tmp_path / "reward.json").write_text("")
    common.check_target(tmp_path, "reward.json")
    with pytest.raises(RBRError, match="a file stands here"):
        common.check_target(tmp_path / "notes.txt", "reward.json")


def test_make_help_is_aligned(root):
    lines = subprocess.run(
        ["make", "help"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(lines) >= 10
    starts = {len(line) - len(line.split(None, 1)[1]) for line in lines}
    assert len(starts) == 1
