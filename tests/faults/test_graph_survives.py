"""One smoke graph in production, while workers, daemon, PostgreSQL and MLflow are killed under it."""

import os
import random
import signal
import time

import pytest

from assets import graph
from orchestration.definitions import JOB
from orchestration.production.supervision import Supervisor
from pipeline.variants import VARIANTS
from tests.faults.leftovers import assert_whole
from tests.servers import wait

pytestmark = [
    pytest.mark.smoke_graph,
    # A quarter of an hour: for a change of how runs are started, retried or recorded.
    pytest.mark.skipif(not os.environ.get("RBR_FAULTS"), reason="RBR_FAULTS=1 runs it"),
]

# Each kill costs an attempt; the environment asks for more, or for other points.
KILLS = int(os.environ.get("RBR_FAULT_KILLS", "4"))
SEED = int(os.environ.get("RBR_FAULT_SEED", "0"))
GRAPH = graph(tuple(VARIANTS))
SHARED = [key for key, made in GRAPH.items() if made.variant is None and key != "model_release"]


@pytest.fixture(scope="module")
def settings_of_production():
    # Each kill costs an attempt.
    return {"dagster": {"max_retries": KILLS + 5, "max_concurrent_runs": 2}}


def running(production):
    return [run for run in production.runs() if run["status"] == "STARTED"]


def root_of(run):
    """The run that this one retries; a first attempt names none."""
    return run["rootRunId"] or run["runId"]


def begun(production, run_id):
    """Artifacts that a run began to make."""
    events = production.events(run_id)
    return [e["stepKey"].replace("__", "/") for e in events if e["eventType"] == "STEP_START"]


def kill_at(production, points, roots, draw, log):
    """Kill -9 the worker of a run at each point (root run, artifact), a moment after it was begun."""
    left = list(points)
    while left:
        for run in running(production):
            keys = begun(production, run["runId"])
            reached = [p for p in left if p[0] == root_of(run) and p[1] in keys]
            worker = production.worker(run["runId"]) if reached else None
            if worker is None:
                continue
            delay = draw.uniform(0.0, 1.0)
            time.sleep(delay)  # the random point; no condition is waited for
            at = begun(production, run["runId"])[-1]
            worker.kill()
            left.remove(reached[0])
            log(f"killed the worker of {roots[root_of(run)]} in {at}, {delay:.1f} s into it")
            wait(
                lambda lost=run["runId"]: lost not in {r["runId"] for r in running(production)},
                120,
                production.logs,
            )
        done = {root_of(run) for run in production.runs() if run["status"] == "SUCCESS"}
        assert not [p for p in left if p[0] in done], f"ended before it was killed: {left}"
        time.sleep(0.1)


def test_the_graph_completes_whatever_is_killed_under_it(production, capsys):
    draw = random.Random(SEED)

    def log(text):
        with capsys.disabled():
            print(f"\n{time.strftime('%H:%M:%S')} {text}", end="", flush=True)

    log(f"seed {SEED}")
    root = production.launch(JOB, assets=SHARED)
    points = [(root, key) for key in draw.sample(SHARED, KILLS // 2)]
    kill_at(production, points, {root: "shared"}, draw, log)
    attempts = production.finished(root)
    log(f"shared done after {len(attempts)} attempts")
    assert len(attempts) == KILLS // 2 + 1

    # Two runs at a time, so that they meet at DVC's lock.
    halves = [["helpful", "human"], ["human_rbr", "rbr"]]
    made = {}
    for half in halves:
        keys = [key for key, a in GRAPH.items() if a.variant and a.variant.name in half]
        made[production.launch(JOB, assets=keys)] = keys
    roots = dict(zip(made, map(" and ".join, halves), strict=True))
    wait(lambda: len(running(production)) == 2, 120, production.logs)
    services = Supervisor(production.root / ".prod").pids()
    for name in ("daemon", "mlflow"):
        os.kill(services[name], signal.SIGKILL)
        log(f"killed {name}")
    assert production.call("up").returncode == 0
    production.postgres.restart()
    log("restarted PostgreSQL")
    points = [(run, key) for run, keys in made.items() for key in keys]
    kill_at(production, draw.sample(points, KILLS - KILLS // 2), roots, draw, log)
    for run in roots:
        log(f"{roots[run]} done after {len(production.finished(run))} attempts")

    # The whole graph: all of that is restored, and released.
    production.finished(production.launch(JOB))
    assert_whole(production.workspace)
    for artifact in GRAPH.values():
        folder = production.root / artifact.path
        assert (folder / "metrics.json").exists(), folder
