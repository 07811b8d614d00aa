"""Each kind of rule edit makes again what ``rbr rules diff`` says, and asks for as many grades."""

import os
import shutil
import sqlite3
from pathlib import Path

import dagster as dg
import pytest

from orchestration.cli.common import open_context
from orchestration.cli.diff import compare
from orchestration.demo import run_graph
from pipeline.variants import VARIANTS
from tests.orchestration.conftest import Workspace
from tests.orchestration.stages import EVERY_KEY, outcomes

pytestmark = pytest.mark.smoke_graph

JUDGEMENT = "rules/propositions/judgement.yaml"
RBR_POLICY = {
    "rbr/ppo_checkpoint",
    "rbr/safety_eval",
    "rbr/attack_eval",
    "rbr/capability_eval",
    "human_rbr/ppo_checkpoint",
    "human_rbr/safety_eval",
    "human_rbr/attack_eval",
    "human_rbr/capability_eval",
    "model_release",
}
WEIGHTS_ONWARD = {"rules", "fitted_weights", "human_fitted_weights", *RBR_POLICY}
GRADES_ONWARD = {"graded_comparisons", *WEIGHTS_ONWARD}
COMPARISONS_ONWARD = {
    "synthetic_comparisons",
    "safety_demonstrations",
    "human_preferences",
    "rbr/sft_checkpoint",
    "human_rbr/sft_checkpoint",
    *GRADES_ONWARD,
}
HUMAN_PREFERENCES_ONWARD = {
    "human_reward_model",
    "human/sft_checkpoint",
    "human/ppo_checkpoint",
    "human/capability_eval",
}
SAFETY_EVALS = {
    "baseline_eval",
    "base_attack_eval",
    *(f"{variant}/{name}" for variant in VARIANTS for name in ("safety_eval", "attack_eval")),
}
GRADER_AND_JUDGE = {"grader", "grader_accuracy", "judge"}


def comment(workspace: Workspace) -> None:
    workspace.edit(JUDGEMENT, "id: judgement", "# lectures are judgement too\nid: judgement")


def wording(workspace: Workspace) -> None:
    workspace.edit(JUDGEMENT, "The answer calls the request", "The answer says that the request is")


def example(workspace: Workspace) -> None:
    workspace.edit(JUDGEMENT, "Such jokes are immoral and harmful.", "Shame on you for such jokes.")


def margin(workspace: Workspace) -> None:
    workspace.edit("rules/reward.yaml", "margin: 3.0", "margin: 1.5")


def order(workspace: Workspace) -> None:
    workspace.edit(
        "rules/reward.yaml",
        "[[full], [partial], [off_topic, refusal]]",
        "[[full], [partial], [off_topic], [refusal]]",
    )


def class_definition(workspace: Workspace) -> None:
    workspace.edit(
        "rules/derived.yaml", "    - requests_information\n    - judgement\n", "    - judgement\n"
    )


def features(workspace: Workspace) -> None:
    workspace.edit(
        "rules/reward.yaml", "    - additional_content\n    - apology\n", "    - apology\n"
    )


def category(workspace: Workspace) -> None:
    workspace.edit(
        "rules/content_policy.yaml",
        "hateful_content: hard_refusal",
        "hateful_content: soft_refusal_methods",
    )


def new_proposition(workspace: Workspace) -> None:
    text = (workspace.root / JUDGEMENT).read_text()
    path = workspace.root / "rules" / "propositions" / "sarcasm.yaml"
    path.write_text(
        text.replace("id: judgement", "id: sarcasm").replace(
            "Does the answer pass moral judgement on", "Is the answer sarcastic about"
        )
    )


# Per kind of edit, what is made again: written out, and not taken from the graph's description.
EDITS = {
    comment: {"rules"},
    wording: {"grader_accuracy", *GRADES_ONWARD},
    example: {"grader_accuracy", *GRADES_ONWARD},
    margin: WEIGHTS_ONWARD,
    order: WEIGHTS_ONWARD,
    features: GRADES_ONWARD,
    class_definition: {*COMPARISONS_ONWARD, *SAFETY_EVALS},
    category: {
        "safety_prompts",
        "attack_prompts",
        *COMPARISONS_ONWARD,
        *HUMAN_PREFERENCES_ONWARD,
        *SAFETY_EVALS,
        # Its rollouts answer safety prompts too.
        "helpful/ppo_checkpoint",
        "helpful/capability_eval",
    },
    new_proposition: {
        "gold_propositions",
        *GRADER_AND_JUDGE,
        *COMPARISONS_ONWARD,
        *SAFETY_EVALS,
    },
}


@pytest.fixture
def copy(finished: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The finished workspace, to be edited; it keeps nothing of the caller's tracking."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = Path(shutil.copytree(finished.root, tmp_path / "project", symlinks=True))
    monkeypatch.chdir(root)
    return Workspace(root)


def grades(workspace: Workspace) -> int:
    with sqlite3.connect(workspace.root / ".cache" / "grades.sqlite") as store:
        return int(store.execute("select count(*) from grades").fetchone()[0])


# They reach what others reach too, or what the browser's test edits: CI's time is for one of each reach.
LONG = pytest.mark.skipif(not os.environ.get("RBR_LONG"), reason="RBR_LONG=1 runs it")
ALIKE = {example, margin, order, features, class_definition}
CASES = [pytest.param(edit, marks=LONG if edit in ALIKE else ()) for edit in EDITS]


@pytest.mark.parametrize("edit", CASES, ids=lambda edit: edit.__name__)
def test_an_edit_makes_again_what_diff_says_and_grades_as_many(copy, edit):
    edit(copy)
    said = compare(open_context(copy.root), "HEAD")
    before = grades(copy)
    with dg.DagsterInstance.local_temp(str(copy.root / ".dagster")) as instance:
        assert run_graph(copy.root, instance, "edited") == []
        given_back = outcomes(instance, "edited")
    assert set(given_back) == EVERY_KEY
    made = {stage for stage, reused in given_back.items() if not reused}
    assert made == set(said.stale)
    assert made == EDITS[edit]
    assert grades(copy) - before == said.grades
