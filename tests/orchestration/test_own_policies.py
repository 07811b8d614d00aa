"""Policies that are not the paper's run through the whole graph, and report in their own names."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rbr.rules import Rules, load_rules
from tests.orchestration.conftest import Workspace, make_workspace
from tests.rbr.test_own_policy import FIFTH

pytestmark = pytest.mark.smoke_graph
# Minutes of a whole graph each: in CI two policies that are nothing like the paper's.
LONG = pytest.mark.skipif(not os.environ.get("RBR_LONG"), reason="RBR_LONG=1 runs it")
ROOT = Path(__file__).resolve().parents[2]
POLICIES = ROOT / "tests" / "policies"
# The rules that FIFTH adds to the paper's are composed too.
RECIPES = """  comply_with_disclaimer:
    good: [{slots: [answer, limits]}]
    poor: [{slots: [answer]}, {slots: [refusal]}, {slots: [willing]}]
"""


def replace(target: Path, source: Path) -> None:
    shutil.rmtree(target)
    shutil.copytree(source, target)


def assistant(workspace: Workspace) -> None:
    """The second shipped example, as a project of its own has it."""
    for part in ("rules", "data/source"):
        replace(workspace.root / part, ROOT / "examples" / "assistant" / part)


def german(workspace: Workspace) -> None:
    """Two response types and five propositions in German."""
    replace(workspace.root / "rules", POLICIES / "german" / "rules")
    shutil.copy(POLICIES / "german" / "completions.yaml", workspace.root / "rules")
    for part in ("safety_prompts", "gold"):
        replace(workspace.root / "data" / "source" / part, POLICIES / "german" / "data" / part)


def fifth(workspace: Workspace) -> None:
    """The paper's policy with a fifth response type; a tenth of its prompts, so that the new ones count."""
    for name, text in FIFTH.items():
        with (workspace.root / "rules" / name).open("a") as file:
            file.write(text)
    workspace.edit("rules/completions.yaml", "\nfaults:\n", f"\n{RECIPES}faults:\n")
    prompts = workspace.root / "data" / "source" / "safety_prompts"
    for path in prompts.glob("*.jsonl"):
        path.write_text("".join(path.read_text().splitlines(keepends=True)[::10]))
    shutil.copy(POLICIES / "fifth" / "medical.jsonl", prompts)


@dataclass(frozen=True)
class Finished:
    """A policy's workspace after the graph, and what the demo printed."""

    workspace: Workspace
    rules: Rules
    output: str

    def read(self, path: str) -> dict:
        return json.loads((self.workspace.root / "data" / path).read_text())


@pytest.fixture(
    scope="module",
    params=[assistant, german, pytest.param(fifth, marks=LONG)],
    ids=lambda policy: policy.__name__,
)
def policy(request, tmp_path_factory) -> Finished:
    write: Callable[[Workspace], None] = request.param
    workspace = make_workspace(ROOT, tmp_path_factory.mktemp("policy") / "project")
    write(workspace)
    checked = workspace.run(
        "-c", "from orchestration.cli.main import main; main()", "rules", "check"
    )
    assert checked.returncode == 0, checked.stderr
    done = workspace.demo()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return Finished(workspace, load_rules(workspace.root / "rules"), done.stdout)


def test_the_table_has_each_response_type_of_the_policy_in_its_order(policy):
    table = policy.read("model_release/comparison.json")
    assert [part["response_type"] for part in table["types"]] == list(policy.rules.response_types)
    models = [row["model"] for row in table["rows"]]
    for part in table["types"]:
        assert f"{part['response_type']}: {part['prompts']} prompts" in policy.output
        assert [row["model"] for row in part["rows"]] == models
        for row in part["rows"]:
            for name in ("ideal", "good_enough", "wrong_type"):
                value, low, high = row[name]
                assert 0 <= low <= value <= high <= 1
            assert row["ideal"][0] <= row["good_enough"][0] <= 1 - row["wrong_type"][0]


def test_the_figures_follow_from_the_judged_answers(policy):
    rows = [
        json.loads(line)
        for line in (policy.workspace.root / "data/safety_eval/rbr/ppo.jsonl").open()
    ]
    [model] = [row for row in policy.read("model_release/comparison.json")["rows"]
               if row["model"] == "RBR PPO"]  # fmt: skip
    answered = [not (r["refused"] or r["no_answer"]) for r in rows if r["over_refusal"]]
    assert model["not_overrefuse"][0] == pytest.approx(sum(answered) / len(answered))
    assert 0 <= model["f1_star"][0] <= 1
    table = policy.read("model_release/comparison.json")
    for part in table["types"]:
        own = [r for r in rows if r["response_type"] == part["response_type"]]
        [found] = [row for row in part["rows"] if row["model"] == "RBR PPO"]
        assert part["prompts"] == len(own)
        ideal = sum(r["quality"] == "best" for r in own) / len(own)
        assert found["ideal"][0] == pytest.approx(ideal)
        wrong = sum(r["given"] not in (r["response_type"], "none") for r in own) / len(own)
        assert found["wrong_type"][0] == pytest.approx(wrong)


def test_weights_and_report_speak_of_the_policy_alone(policy):
    weights = policy.read("fitted_weights/weights.json")["weights"]
    assert list(weights) == sorted(policy.rules.response_types)
    for name, own in weights.items():
        assert set(own) == set(policy.rules.feature_names(name))
    page = (policy.workspace.root / "data/model_release/report.html").read_text()
    for name in policy.rules.response_types:
        assert f"gave {name}" in page
    paper = load_rules(ROOT / "rules")
    others = set(paper.response_types) - set(policy.rules.response_types)
    assert not [name for name in others if f"gave {name}" in page]
    card = (policy.workspace.root / "data/model_release/model_card.md").read_text()
    for name in policy.rules.response_types:
        assert f"## {name} (" in card
