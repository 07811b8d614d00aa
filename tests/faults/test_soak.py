"""Whole smoke graphs in a row, each killed at random moments and started again: nothing is lost or doubled."""

import collections
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
import yaml

from orchestration.definitions import JOB
from tests.faults.leftovers import assert_whole
from tests.orchestration.conftest import Workspace, make_workspace
from tests.orchestration.servers import restored
from tests.orchestration.stages import GRAPH

pytestmark = [
    pytest.mark.smoke_graph,
    # Half an hour, and more on a busy machine.
    pytest.mark.skipif(not os.environ.get("RBR_FAULTS"), reason="RBR_FAULTS=1 runs it"),
]

# Artifacts that are to be made, over all rounds; a round is a graph of another seed.
MATERIALIZATIONS = int(os.environ.get("RBR_SOAK", "200"))
KILLS_A_ROUND = 4
SECONDS_TO_A_KILL = (1.0, 75.0)


def run_until_killed(workspace: Workspace, seconds: float) -> bool:
    """Run the graph; kill -9 it and what it started after so many seconds. Did it end before?"""
    with (workspace.root / "started.out").open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration.demo"],
            cwd=workspace.root,
            env=workspace.environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        assert process.wait(seconds) == 0, (workspace.root / "started.out").read_text()[-3000:]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    return True


def made_in_round(
    workspace: Workspace, seen: set[str]
) -> tuple[collections.Counter[str], set[str]]:
    """How often each artifact was made in the runs that are not among those seen; and what a run had."""
    made: collections.Counter[str] = collections.Counter()
    had: set[str] = set()
    with dg.DagsterInstance.local_temp(str(workspace.root / ".dagster")) as instance:
        for run in instance.get_runs():
            if run.run_id in seen:
                continue
            seen.add(run.run_id)
            assert run.job_name == JOB
            for key, reused in restored(instance, run.run_id).items():
                had.add(key)
                made[key] += not reused
    return made, had


def assert_every_artifact_is_there(workspace: Workspace) -> None:
    """Every stage is in the lock, and no row is torn."""
    lock = yaml.safe_load((workspace.root / "dvc.lock").read_text())
    assert set(lock["stages"]) == {"code", *(artifact.stage for artifact in GRAPH.values())}
    for path in (workspace.root / "data").rglob("*.jsonl"):
        for line in path.read_text().splitlines():
            json.loads(line)


def assert_recorded_once(workspace: Workspace, rounds: int) -> None:
    """MLflow has a finished graph run a round, and each policy that was released is one version."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workspace.root / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("rule-based-rewards")
    finished = client.search_runs(
        [experiment.experiment_id], "tags.`rbr.step` = 'graph' and status = 'FINISHED'"
    )
    assert len(finished) == rounds
    versions = client.search_model_versions("name = 'rbr-policy-smoke'")
    hashes = [version.tags["dvc.hash"] for version in versions]
    assert len(hashes) == len(set(hashes)) >= 1


def test_graphs_that_are_killed_at_random_lose_nothing_and_double_nothing(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(int(os.environ.get("RBR_FAULT_SEED", "0")))
    workspace = make_workspace(root, tmp_path / "project")
    profile = workspace.root / "profiles" / "smoke.yaml"
    seen: set[str] = set()
    total, kills, rounds = 0, 0, 0
    while total < MATERIALIZATIONS:
        settings = yaml.safe_load(profile.read_text())
        profile.write_text(yaml.safe_dump({**settings, "seed": rounds}, sort_keys=False))
        ended, killed = False, 0
        while not ended:
            seconds = draw.uniform(*SECONDS_TO_A_KILL) if killed < KILLS_A_ROUND else 1800.0
            ended = run_until_killed(workspace, seconds)
            killed += not ended
        rounds, kills = rounds + 1, kills + killed
        made, had = made_in_round(workspace, seen)
        assert had == set(GRAPH), set(GRAPH) - had
        twice = {key: count for key, count in made.items() if count > 1}
        assert not twice, twice
        assert_whole(workspace)
        assert_every_artifact_is_there(workspace)
        assert_recorded_once(workspace, rounds)
        total += sum(made.values())
        with capsys.disabled():
            clock = time.strftime("%H:%M:%S")
            print(
                f"\n{clock} {rounds} graphs, {kills} kills, {total} made, 0 lost, 0 doubled", end=""
            )
