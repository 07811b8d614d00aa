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

from rbr.rules import load_rules
from pipeline.profile import VARIANTS
from tests.orchestration.conftest import Workspace
from tests.orchestration.servers import serving, wait_for

pytestmark = pytest.mark.smoke_graph

EDITS = int(os.environ.get("RBR_EDITS", "5"))
# A person saves one file every few seconds.
SECONDS_BETWEEN = 3.0
KINDS = ("hard_refusal", "soft_refusal_disclosure", "soft_refusal_methods")
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
        text = text.replace("margin: 1.5", "margin: 1.0")
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
    memory: list[dict[str, float]] = []
    with serving(workspace) as servers, servers.instance() as instance:
        servers.switch_on("rules_changed")
        for number in range(EDITS):
            edit(workspace, number)
            states.append(load_rules(rules).digest)
            pause = time.monotonic() + SECONDS_BETWEEN
            wait_for("the next edit", lambda until=pause: time.monotonic() >= until)
            memory.append(servers.memory())

        def settled() -> bool:
            memory.append(servers.memory())
            last = starts(instance)[-1:]
            return (
                bool(last)
                and last[0].tags.get("rbr/rules") == states[-1]
                and released(instance, last[0])
            )

        wait_for("the last edit's release", settled, patience=300 + 60 * EDITS)
        # And then nothing more: two more looks of the sensor change nothing.
        count = len(instance.get_runs())
        looks = ticks(instance)
        wait_for("two more looks", lambda: ticks(instance) >= looks + 2)
        memory.append(servers.memory())
        assert len(instance.get_runs()) == count
        check_runs(instance, states)
    check_nothing_is_stale(workspace)
    report = levels(memory)
    assert set(report) == {"daemon", "webserver", "code"}
    print(json.dumps(report, indent=1))
    for name, (early, late) in report.items():
        assert late - early <= MIB_ALLOWED, f"{name} grew from {early:.0f} to {late:.0f} MiB"


def starts(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """The sensor's shared runs, oldest first."""
    runs = instance.get_runs(
        dg.RunsFilter(job_name="shared", tags={"rbr/started_by": "rules_changed"})
    )
    return runs[::-1]


def parts(instance: dg.DagsterInstance, start: dg.DagsterRun) -> list[dg.DagsterRun]:
    return list(
        instance.get_runs(dg.RunsFilter(tags={"rbr/graph_run": start.tags["rbr/graph_run"]}))
    )


def released(instance: dg.DagsterInstance, start: dg.DagsterRun) -> bool:
    own = parts(instance, start)
    failed = [run for run in own if run.is_failure]
    assert not failed, f"{failed[0].job_name} failed"
    return any(run.job_name == "release" and run.is_success for run in own)


def ticks(instance: dg.DagsterInstance) -> int:
    [state] = [s for s in instance.all_instigator_state() if s.instigator_name == "rules_changed"]
    return len(instance.get_ticks(state.instigator_origin_id, state.selector_id))


def check_runs(instance: dg.DagsterInstance, states: list[str]) -> None:
    begun = starts(instance)
    keys = [run.tags["dagster/run_key"] for run in begun]
    assert len(set(keys)) == len(keys)
    # Each graph run compiled a state that was written, later than that of the run before, and another.
    places = []
    at = 0
    for run in begun:
        at = states.index(run.tags["rbr/rules"], at)
        places.append(at)
    compiled = [states[place] for place in places]
    assert all(one != other for one, other in itertools.pairwise(compiled))
    assert compiled[0] != states[0]
    assert compiled[-1] == states[-1]
    # All five parts, once each.
    wanted = sorted([("shared", ""), ("release", ""), *(("variant", own) for own in VARIANTS)])
    for run in begun:
        own = [(p.job_name, p.tags.get("dagster/partition", "")) for p in parts(instance, run)]
        assert sorted(own) == wanted
    # One at a time.
    spans = sorted(
        (record.start_time, record.end_time)
        for record in instance.get_run_records(
            dg.RunsFilter(tags={"rbr/started_by": "rules_changed"})
        )
    )
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    print(f"{len(states) - 1} edits, {len(begun)} graph runs, after edits {places}")


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
