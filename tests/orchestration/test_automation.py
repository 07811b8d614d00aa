"""When the sensors and the schedule start something, and when they do not; no run is executed here."""

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from orchestration.automation import automation
from orchestration.definitions import definitions
from rbr.rules import load_rules
from pipeline.profile import VARIANTS

QUIET = 10.0
APOLOGY = "rules/propositions/apology.yaml"


@dataclass
class Project:
    """A root with rules, a clock that is set by hand, and Dagster's daemon played by hand."""

    root: Path
    instance: dg.DagsterInstance
    now: float = 1000.0
    cursor: str | None = None
    reason: str | None = None
    started: list[dg.DagsterRun] = field(default_factory=list)

    def __post_init__(self) -> None:
        sensors, [self.weekly] = automation(self.root, lambda: self.now)
        self.repository = definitions(self.root).get_repository_def()
        self.sensors = {sensor.name: sensor for sensor in sensors}

    def edit(self, old: str, new: str, path: str = APOLOGY) -> None:
        text = (self.root / path).read_text()
        assert old in text
        (self.root / path).write_text(text.replace(old, new, 1))

    def tick(self, seconds: float = 5.0) -> dg.DagsterRun | None:
        """A look of ``rules_changed`` after some seconds; returns the run that it asked for."""
        self.now += seconds
        context = dg.build_sensor_context(self.instance, cursor=self.cursor)
        data = self.sensors["rules_changed"].evaluate_tick(context)
        self.cursor, self.reason = data.cursor, data.skip_message
        self.events = data.asset_events
        return self._submit("shared", data.run_requests)

    def goes_on(self) -> list[tuple[str, str | None]]:
        """What ``graph_goes_on`` asks for."""
        context = dg.build_sensor_context(self.instance, repository_def=self.repository)
        data = self.sensors["graph_goes_on"].evaluate_tick(context)
        for request in data.run_requests:
            self._submit(request.job_name, [request])
        return [(request.job_name, request.partition_key) for request in data.run_requests]

    def _submit(self, job: str, requests: list[dg.RunRequest]) -> dg.DagsterRun | None:
        for request in requests:
            # The daemon does the same: a key is run once.
            if any(run.tags.get("dagster/run_key") == request.run_key for run in self.started):
                continue
            tags = {**request.tags, "dagster/run_key": request.run_key}
            if request.partition_key:
                tags["dagster/partition"] = request.partition_key
            run = dg.DagsterRun(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
            self.started.append(self.instance.add_run(run))
            return run
        return None

    def ends(self, run: dg.DagsterRun, success: bool = True, compiled: bool = True) -> None:
        """Let a run end; a shared run compiles the rules as they stand."""
        if run.job_name == "shared" and compiled:
            rules = load_rules(self.root / "rules")
            folder = self.root / "data" / "rules"
            folder.mkdir(parents=True, exist_ok=True)
            hashes = {**rules.hashes(), "digest": rules.digest}
            (folder / "hashes.json").write_text(json.dumps(hashes))
            self.instance.add_run_tags(run.run_id, {"rbr/rules": rules.digest})
        event = dg.DagsterEventType.RUN_SUCCESS if success else dg.DagsterEventType.RUN_FAILURE
        self.instance.report_dagster_event(
            dg.DagsterEvent(event_type_value=event.value, job_name=run.job_name), run.run_id
        )

    def open_runs(self) -> list[dg.DagsterRun]:
        return [run for run in self.instance.get_runs() if not run.is_finished]

    def whole_graph_ends(self, run: dg.DagsterRun) -> None:
        self.ends(run)
        for _ in range(2):
            self.goes_on()
            for part in self.open_runs():
                self.ends(part)
        assert self.goes_on() == []


@pytest.fixture
def project(rules_folder, tmp_path, root):
    (tmp_path / "params.yaml").write_text("profile: p\n")
    (tmp_path / "profiles").mkdir()
    settings = f"automation: {{quiet_seconds: {QUIET}}}\n"
    (tmp_path / "profiles" / "p.yaml").write_text(settings)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield Project(tmp_path, instance)


@pytest.fixture
def made(project):
    """A project whose rules were made by a first graph run."""
    project.tick()
    run = project.tick(QUIET)
    assert run is not None
    project.whole_graph_ends(run)
    assert project.tick() is None
    assert "unchanged" in project.reason
    return project


def test_a_change_starts_one_run_once_the_files_are_left_alone(made):
    made.edit("question: ", "question: Now, ")
    assert made.tick() is None
    assert "quiet" in made.reason
    made.edit("definition: ", "definition: Here, ")
    assert made.tick(QUIET - 1) is None
    assert made.tick(QUIET - 1) is None
    run = made.tick(2)
    assert run is not None
    assert run.job_name == "shared"
    assert made.tick() is None
    assert "going on" in made.reason


def test_each_rule_has_its_own_data_version_and_the_changed_one_is_observed(made):
    made.edit("question: ", "question: Now, ")
    made.tick()
    assert made.tick(QUIET) is not None
    [observed] = made.events
    assert observed.asset_key == dg.AssetKey("written_rules")
    assert observed.partition == "propositions/apology"
    version = load_rules(made.root / "rules").hashes()["propositions/apology"]
    assert observed.tags["dagster/data_version"] == version


def test_a_comment_starts_nothing(made):
    made.edit("id: apology", "# a remark\nid: apology")
    made.tick()
    assert made.tick(QUIET) is None
    assert "unchanged" in made.reason


def test_a_half_written_file_is_waited_for(made):
    text = (made.root / APOLOGY).read_text()
    (made.root / APOLOGY).write_text(text[: len(text) // 2] + "\n  - [")
    made.tick()
    assert made.tick(QUIET) is None
    assert "cannot be used yet" in made.reason
    assert "apology.yaml" in made.reason
    (made.root / APOLOGY).write_text(text.replace("question: ", "question: Now, "))
    assert made.tick() is None
    assert made.tick(QUIET) is not None


def test_changes_during_a_run_become_one_run_after_the_whole_graph(made):
    made.edit("question: ", "question: Now, ")
    made.tick()
    run = made.tick(QUIET)
    # Its rules are compiled, and edited twice after that.
    made.ends(run)
    for word in ("Well, ", "Oh, "):
        made.edit("question: ", f"question: {word}")
        made.tick()
        assert made.tick(QUIET) is None
    assert made.goes_on() == [("variant", variant) for variant in VARIANTS]
    assert made.tick() is None
    for part in made.open_runs():
        made.ends(part)
    # The variants are done and the release is due: still the same graph run.
    assert made.tick() is None
    assert made.goes_on() == [("release", None)]
    [release] = made.open_runs()
    made.ends(release)
    second = made.tick()
    assert second is not None
    made.whole_graph_ends(second)
    assert made.tick() is None
    assert "unchanged" in made.reason


def test_a_change_that_the_run_before_compiled_already_is_not_run_twice(made):
    made.edit("question: ", "question: Now, ")
    made.tick()
    run = made.tick(QUIET)
    # Edited before the run came to compile them.
    made.edit("question: Now, ", "question: Well, ")
    made.whole_graph_ends(run)
    made.tick()
    assert made.tick(QUIET) is None
    assert "unchanged" in made.reason


def test_a_change_taken_back_and_made_again_is_three_runs_with_three_keys(made):
    keys = set()
    for old, new in [(": ", ": Now, "), (": Now, ", ": "), (": ", ": Now, ")]:
        made.edit(f"question{old}", f"question{new}")
        made.tick()
        run = made.tick(QUIET)
        assert run is not None
        keys.add(run.tags["dagster/run_key"])
        made.whole_graph_ends(run)
    assert len(keys) == 3


def test_a_change_taken_back_while_its_run_goes_on_is_run_after_it(made):
    made.edit("question: ", "question: Now, ")
    made.tick()
    run = made.tick(QUIET)
    made.ends(run)
    made.edit("question: Now, ", "question: ")
    for _ in range(2):
        made.goes_on()
        for part in made.open_runs():
            made.ends(part)
    made.tick()
    assert made.tick(QUIET) is not None


def test_a_tick_that_is_evaluated_twice_asks_for_the_same_run(made):
    made.edit("question: ", "question: Now, ")
    made.tick()
    cursor = made.cursor
    run = made.tick(QUIET)
    made.instance.delete_run(run.run_id)  # as if the daemon died before it stored the run
    made.cursor, made.started = cursor, []
    again = made.tick(0)
    assert again.tags["dagster/run_key"] == run.tags["dagster/run_key"]


def test_a_run_that_dies_before_it_compiles_is_started_once_more_and_then_told(made):
    made.edit("question: ", "question: Now, ")
    made.tick()
    first = made.tick(QUIET)
    made.ends(first, success=False, compiled=False)
    second = made.tick()
    assert second.tags["dagster/run_key"] != first.tags["dagster/run_key"]
    made.ends(second, success=False, compiled=False)
    assert made.tick() is None
    assert "ended before the rules were compiled" in made.reason
    made.edit("question: Now, ", "question: Well, ")
    made.tick()
    assert made.tick(QUIET) is not None


def test_a_failed_part_stops_its_graph_run_and_the_next_change_starts_another(made):
    made.edit("question: ", "question: Now, ")
    made.tick()
    made.ends(made.tick(QUIET), success=False)
    assert made.goes_on() == []
    assert made.tick() is None
    made.edit("question: Now, ", "question: Well, ")
    made.tick()
    assert made.tick(QUIET) is not None


def test_rules_that_were_made_by_hand_since_then_are_made_again_by_the_sensor(made):
    made.edit("question: ", "question: Now, ")
    rules = load_rules(made.root / "rules")
    path = made.root / "data" / "rules" / "hashes.json"
    path.write_text(json.dumps({**rules.hashes(), "digest": rules.digest}))
    made.edit("question: Now, ", "question: ")
    assert made.tick() is not None


def test_the_week_starts_a_graph_run_unless_one_is_going_on(made):
    time = datetime.datetime(2026, 1, 5, 3)
    context = dg.build_schedule_context(made.instance, scheduled_execution_time=time)
    [request] = made.weekly.evaluate_tick(context).run_requests
    assert request.run_key == "weekly-2026-01-05"
    made.edit("question: ", "question: Now, ")
    made.tick()
    assert made.tick(QUIET) is not None
    data = made.weekly.evaluate_tick(context)
    assert data.run_requests == []
    assert "going on" in data.skip_message


def test_a_run_by_hand_is_not_gone_on_with(project):
    tags = {"rbr/graph_run": "demo-1"}
    success = dg.DagsterRunStatus.SUCCESS
    project.instance.add_run(dg.DagsterRun("shared", tags=tags, status=success))
    assert project.goes_on() == []


def test_nothing_starts_by_itself_until_it_is_switched_on(root):
    defs = definitions(root)
    stopped = dg.DefaultSensorStatus.STOPPED
    assert defs.get_sensor_def("rules_changed").default_status == stopped
    assert defs.get_schedule_def("weekly").default_status == dg.DefaultScheduleStatus.STOPPED
    # It only goes on with what those two started: one click switches all on.
    assert defs.get_sensor_def("graph_goes_on").default_status == dg.DefaultSensorStatus.RUNNING


def test_runs_over_one_working_copy_wait_for_each_other(tmp_path, monkeypatch):
    from orchestration.dagster_home import use_home

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    use_home(tmp_path)
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_concurrency_config().run_queue_config
        assert runs is not None
        assert runs.max_concurrent_runs == 1
