"""What Dagster is given: assets, the job, blocking checks; and that declarations are what bodies read."""

import subprocess
import sys
from dataclasses import dataclass, field

import dagster as dg
import pytest
import yaml

from orchestration.definitions import definitions
from pipeline.context import Context
from pipeline.profile import read_settings
from pipeline.variants import VARIANTS
from tests.orchestration.stages import GRAPH, PROJECT_GRAPH


@pytest.fixture(scope="module")
def defs(root):
    return definitions(root)


@pytest.fixture(scope="module")
def assets(defs):
    return defs.resolve_asset_graph()


def test_a_code_server_can_load_all_of_it(defs):
    dg.Definitions.validate_loadable(defs)


def test_dagster_lists_one_main_job(root):
    listed = subprocess.run(
        [sys.executable, "-m", "dagster", "job", "list", "-m", "orchestration.definitions"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    jobs = [line.split()[1] for line in listed.splitlines() if line.startswith("Job:")]
    # Dagster's own, of all assets, is listed by no page.
    assert set(jobs) - {"__ASSET_JOB"} == {"ablation", "rbr"}


def test_the_job_materializes_the_whole_graph(defs):
    keys = defs.resolve_job_def("rbr").asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in keys} == set(PROJECT_GRAPH)


def test_dagster_and_dvc_have_the_same_dependencies(root, assets):
    """Each is made by code of its own: an artifact's folder in one is its key in the other."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    keys = {artifact.path: key for key, artifact in PROJECT_GRAPH.items()}
    for key, artifact in PROJECT_GRAPH.items():
        parents = assets.get(dg.AssetKey(key.split("/"))).parent_keys
        in_dagster = {parent.to_user_string() for parent in parents} - {"written_rules"}
        in_dvc = {keys[dep] for dep in stages[artifact.stage]["deps"] if dep in keys}
        if "rules" in in_dagster:  # DVC depends on sections of it, or on none
            in_dvc.add("rules")
        assert in_dagster == in_dvc, key


def test_each_gate_is_a_blocking_check_and_each_alarm_one_that_blocks_nothing(assets):
    for key, artifact in PROJECT_GRAPH.items():
        checks = assets.get_check_keys_for_assets([dg.AssetKey(key.split("/"))])
        blocking = {check.name: assets.get_check_spec(check).blocking for check in checks}
        expected = {"gate": True} if artifact.gate else {}
        expected |= {artifact.alarm.__name__: False} if artifact.alarm else {}
        assert blocking == expected, key
    alarms = {key for key, artifact in PROJECT_GRAPH.items() if artifact.alarm}
    evaluated = ("/safety_eval", "/capability_eval")
    assert alarms == {key for key in PROJECT_GRAPH if key.endswith(evaluated)}


@dataclass(frozen=True)
class Spy(Context):
    """Notes the artifacts whose folders are asked for."""

    read: set[str] = field(default_factory=set)

    def path(self, key):
        if key != self.artifact.key:
            self.read.add(key)
        return super().path(key)


CHEAP = (
    "safety_prompts", "gold_propositions", "helpful_preferences", "human_preferences",
    "fitted_weights", "human_fitted_weights", "helpful/capability_eval", "rbr/safety_eval",
    "baseline_eval", "graded_comparisons", "grader_accuracy", "model_release",
)  # fmt: skip


@pytest.mark.smoke_graph
@pytest.mark.parametrize("key", CHEAP)
def test_a_body_reads_what_is_declared_and_all_of_it(finished, tmp_path, key):
    settings = read_settings(finished.root)[1]
    context = Spy(finished.root, settings, GRAPH[key], GRAPH)
    GRAPH[key].body(context, tmp_path)
    declared = set(GRAPH[key].inputs)
    assert context.read <= declared
    # Their gates must stop a release: nothing of these is read for the table.
    gates_alone = {"grader_accuracy", *(f"{name}/capability_eval" for name in VARIANTS)}
    assert declared - context.read <= (gates_alone if key == "model_release" else set())
