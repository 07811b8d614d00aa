"""Many edits in a row with the sensor on: none is lost, none is run twice, memory stays level.

By default a few edits; ``RBR_EDITS=50`` for the long run. Servers, sensors, daemon and runs are the real
ones, on the smoke profile.
"""

import itertools
import json
import os
import shutil
import statistics
import time
from pathlib import Path

import dagster as dg
import pytest

from orchestration.watch import made_rules
from pipeline.artifact import upstream
from rbr.rules.rules import load_rules
from tests.orchestration.conftest import Workspace
from tests.orchestration.servers import restored, serving, wait_for
from tests.orchestration.stages import GRAPH

pytestmark = [
    pytest.mark.smoke_graph,
    # Five minutes; the browser's test has one edit of the same kind in every run of CI.
    pytest.mark.skipif(not os.environ.get("RBR_LONG"), reason="RBR_LONG=1 runs it"),
]

EDITS = int(os.environ.get("RBR_EDITS", "5"))
# A person saves one file every few seconds.
SECONDS_BETWEEN = 3.0
KINDS = ("hard_refusal", "soft_refusal_disclosure", "soft_refusal_methods")
RULES_ONWARD = {"rules", *(key for key in GRAPH if "rules" in upstream(GRAPH, key))}
BY_AUTOMATION = {"dagster/from_automation_condition": "true"}
# Growth of a server between its first graph run and the end that is no leak: caches fill, pages come
# and go. A sensor that kept its rules at each look would be far over it.
MIB_ALLOWED = 60.0


def edit(workspace: Workspace, number: int) -> None:
    """Another margin each time; every fifth time the edit before is taken back, every seventh a comment."""
    path = workspace.root / "rules" / "reward.yaml"
    text = path.read_text()
    if number % 7 == 6:
        text += f"# edit {number}\n"
    elif number % 5 == 4:
        text = text.replace("margin: 1.5", "margin: 3.0")
    else:
        kind = KINDS[number % 3]
        head, tail = text.split(f"\n{kind}:" if number % 3 else f"{kind}:", 1)
        first, rest = tail.split("  margin: ", 1)
        value = 1.5 if number % 5 == 3 else 1 + (number + 1) / 100
        rest = f"{value}\n" + rest.split("\n", 1)[1]
        text = f"{head}{chr(10) if number % 3 else ''}{kind}:{first}  margin: {rest}"
    path.write_text(text)


def test_edits_in_a_row_are_all_run_once_and_memory_stays_level(finished, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workspace = Workspace(Path(shutil.copytree(finished.root, tmp_path / "project", symlinks=True)))
    rules = workspace.root / "rules"
    states = [load_rules(rules).digest]
    compiled: dict[str, str] = {}  # by run
    memory: list[dict[str, float]] = []
    with serving(workspace) as servers, servers.instance() as instance:
        before = len(instance.get_runs())

        def look() -> None:
            memory.append(servers.memory())
            for run in started(instance):
                if run.run_id not in compiled and "rules" in restored(instance, run.run_id):
                    compiled[run.run_id] = made_rules(workspace.root)["digest"]

        def settled() -> bool:
            look()
            runs = started(instance)
            failed = [run for run in runs if run.is_failure]
            assert not failed, f"{failed[0].run_id} failed"
            last = [*compiled.values()][-1:]
            return last == states[-1:] and all(run.is_finished for run in runs)

        servers.switch_on("rules_changed")
        for number in range(EDITS):
            if number == EDITS - 1:  # the last edit comes while a run is in progress
                wait_for("a run", lambda: look() or compiled)
            edit(workspace, number)
            states.append(load_rules(rules).digest)
            pause = time.monotonic() + SECONDS_BETWEEN
            wait_for("the next edit", lambda until=pause: look() or time.monotonic() >= until)
        wait_for("the last edit's release", settled, patience=300 + 60 * EDITS)
        # And then nothing more: more looks of the sensor and of the automation change nothing.
        for name in ("rules_changed", "rule_automation"):
            looks = ticks(instance, name)
            wait_for(f"more of {name}", lambda n=name, least=looks + 2: ticks(instance, n) >= least)
        assert settled()
        assert len(instance.get_runs()) == before + len(started(instance))
        check_runs(instance, states, list(compiled.values()))
    check_nothing_is_stale(workspace)
    report = levels(memory)
    assert set(report) == {"daemon", "webserver", "code"}
    print(json.dumps(report, indent=1))
    for name, (early, late) in report.items():
        assert late - early <= MIB_ALLOWED, f"{name} grew from {early:.0f} to {late:.0f} MiB"


def started(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """The runs that the automation started, oldest first."""
    return instance.get_runs(dg.RunsFilter(tags=BY_AUTOMATION))[::-1]


def ticks(instance: dg.DagsterInstance, sensor: str) -> int:
    [state] = [s for s in instance.all_instigator_state() if s.instigator_name == sensor]
    return len(instance.get_ticks(state.instigator_origin_id, state.selector_id))


def check_runs(instance: dg.DagsterInstance, states: list[str], compiled: list[str]) -> None:
    """Each run compiled a state that was written, later than that of the run before, and another."""
    runs = started(instance)
    assert len(runs) == len(compiled) >= 1 + (states[-1] != states[-2])
    at, places = 0, []
    for digest in compiled:
        at = states.index(digest, at)
        places.append(at)
    assert all(one != other for one, other in itertools.pairwise([states[0], *compiled]))
    assert compiled[-1] == states[-1]
    # What is downstream of the rules, once each, in one run; one run at a time.
    for run in runs:
        assert set(restored(instance, run.run_id)) == RULES_ONWARD
    records = instance.get_run_records(dg.RunsFilter(tags=BY_AUTOMATION))
    spans = sorted((record.start_time, record.end_time) for record in records)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    print(f"{len(states) - 1} edits, {len(runs)} runs, after edits {places}")


def check_nothing_is_stale(workspace: Workspace) -> None:
    status = workspace.run("-m", "dvc", "status", "--json")
    assert json.loads(status.stdout) == {}, status.stdout


def levels(memory: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Per server its median MiB in the second and in the last quarter of the samples."""
    quarter = max(1, len(memory) // 4)
    names = memory[-1].keys()
    return {
        name: (
            statistics.median(
                sample[name] for sample in memory[quarter : 2 * quarter] if name in sample
            ),
            statistics.median(sample[name] for sample in memory[-quarter:] if name in sample),
        )
        for name in names
    }
