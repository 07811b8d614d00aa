"""When a changed rule and the week start something, and when they do not; no run is executed here."""

import datetime
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor

from orchestration.automation import rules_sensor
from orchestration.dagster_home import use_home
from orchestration.definitions import definitions
from pipeline.artifact import upstream
from rbr.rules.rules import load_rules
from tests.orchestration.stages import PROJECT_GRAPH

QUIET = 10.0
APOLOGY = "rules/propositions/apology.yaml"
EVERYTHING = set(PROJECT_GRAPH)
RULES_ONWARD = {"rules", *(key for key in PROJECT_GRAPH if "rules" in upstream(PROJECT_GRAPH, key))}


@dataclass
class Project:
    """A root with rules, a clock that is set by hand, and Dagster's daemon played by hand."""

    root: Path
    instance: dg.DagsterInstance
    defs: dg.Definitions
    now: float = 1000.0
    cursor: str | None = None
    reason: str | None = None
    seen: AssetDaemonCursor | None = None

    def edit(self, old: str, new: str, path: str = APOLOGY) -> None:
        text = (self.root / path).read_text()
        assert old in text
        (self.root / path).write_text(text.replace(old, new, 1))

    def look(self, seconds: float = 5.0) -> dict[str, str]:
        """A look of ``rules_changed`` after some seconds; returns the versions that it reports."""
        self.now += seconds
        context = dg.build_sensor_context(self.instance, cursor=self.cursor)
        data = rules_sensor(self.root, lambda: self.now).evaluate_tick(context)
        self.cursor, self.reason = data.cursor, data.skip_message
        assert not data.run_requests
        for request in data.dynamic_partitions_requests:
            self.instance.add_dynamic_partitions(
                request.partitions_def_name, request.partition_keys
            )
        for event in data.asset_events:
            assert event.asset_key == dg.AssetKey("written_rules")
            self.instance.report_runless_asset_event(event)
        return {event.partition: event.tags["dagster/data_version"] for event in data.asset_events}

    def settle(self) -> dict[str, str]:
        """The looks that it takes until a change counts."""
        assert self.look() == {}
        return self.look(QUIET)

    def requested(self) -> set[str]:
        """What the automation conditions request now; a run of it is created, as the daemon does."""
        result = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=self.seen)
        self.seen = result.cursor
        keys = {key for key in PROJECT_GRAPH if result.get_num_requested(dagster_key(key))}
        if keys:
            self.starts(keys)
        return keys

    def starts(self, keys: set[str]) -> dg.DagsterRun:
        """A run of these artifacts."""
        selection = frozenset(dagster_key(key) for key in keys)
        job = self.defs.resolve_implicit_global_asset_job_def()
        return self.instance.create_run_for_job(
            job.get_subset(asset_selection=selection),
            asset_selection=selection,
            status=dg.DagsterRunStatus.STARTED,
        )

    def run(self) -> dg.DagsterRun:
        """The run in progress."""
        [run] = [run for run in self.instance.get_runs() if not run.is_finished]
        return run

    def compile(self) -> None:
        """The run in progress makes ``rules`` of the files as they are."""
        rules = load_rules(self.root / "rules")
        folder = self.root / "data" / "rules"
        folder.mkdir(parents=True, exist_ok=True)
        hashes = {**rules.hashes(), "digest": rules.digest}
        (folder / "hashes.json").write_text(json.dumps(hashes))
        self.instance.report_runless_asset_event(dg.AssetMaterialization("rules"))

    def ends(self, success: bool = True) -> None:
        """The run in progress ends; if it succeeds, what it was to make is made."""
        run = self.run()
        if success:
            for key in (run.asset_selection or set()) - {dg.AssetKey("rules")}:
                self.instance.report_runless_asset_event(dg.AssetMaterialization(key))
        event = dg.DagsterEventType.RUN_SUCCESS if success else dg.DagsterEventType.RUN_FAILURE
        self.instance.report_dagster_event(
            dg.DagsterEvent(event_type_value=event.value, job_name=run.job_name), run.run_id
        )


def dagster_key(key: str) -> dg.AssetKey:
    return dg.AssetKey(key.split("/"))


@pytest.fixture(scope="module")
def defs(root):
    return definitions(root)


@pytest.fixture
def project(rules_folder, tmp_path, defs):
    (tmp_path / "params.yaml").write_text("profile: p\n")
    (tmp_path / "profiles").mkdir()
    settings = f"automation: {{quiet_seconds: {QUIET}}}\n"
    (tmp_path / "profiles" / "p.yaml").write_text(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Project(tmp_path, instance, defs)


@pytest.fixture
def made(project):
    """A project in which everything was made by a first run."""
    assert project.requested() == set()
    assert project.settle()
    assert project.requested() == EVERYTHING
    project.compile()
    project.ends()
    assert project.look() == {}
    assert "unchanged" in project.reason
    assert project.requested() == set()
    return project


def test_an_empty_project_starts_nothing_by_itself(project):
    for _ in range(3):
        assert project.requested() == set()


def test_the_first_report_of_an_empty_project_starts_everything(project):
    project.requested()
    assert set(project.settle()) == set(load_rules(project.root / "rules").hashes())
    assert project.requested() == EVERYTHING
    assert project.requested() == set()


def test_a_report_before_the_first_evaluation_starts_everything(project):
    project.settle()
    assert project.requested() == EVERYTHING
    assert project.requested() == set()


def test_a_change_requests_the_rules_and_all_downstream_in_one_run(made):
    made.edit("question: ", "question: Now, ")
    assert made.look() == {}
    assert "quiet" in made.reason
    made.edit("definition: ", "definition: Here, ")
    assert made.look(QUIET - 1) == {}
    assert made.requested() == set()
    assert made.look(QUIET - 1) == {}
    assert made.look(2)
    assert made.requested() == RULES_ONWARD
    assert made.look() == {}
    assert made.requested() == set()


def test_the_changed_rule_alone_is_reported_with_its_data_version(made):
    made.edit("question: ", "question: Now, ")
    versions = load_rules(made.root / "rules").hashes()
    assert made.settle() == {"propositions/apology": versions["propositions/apology"]}


def test_an_added_and_a_removed_rule_are_reported(made):
    first = made.root / APOLOGY
    second = first.with_name("sarcasm.yaml")
    second.write_text(first.read_text().replace("id: apology", "id: sarcasm"))
    assert {"propositions/sarcasm", "names"} <= set(made.settle())
    assert made.requested() == RULES_ONWARD
    made.compile()
    made.ends()
    made.look()
    second.unlink()
    assert "names" in made.settle()
    assert made.requested() == RULES_ONWARD


def test_a_comment_starts_nothing(made):
    made.edit("id: apology", "# a remark\nid: apology")
    assert made.settle() == {}
    assert "unchanged" in made.reason
    assert made.requested() == set()


def test_a_half_written_file_is_waited_for(made):
    text = (made.root / APOLOGY).read_text()
    (made.root / APOLOGY).write_text(text[: len(text) // 2] + "\n  - [")
    assert made.settle() == {}
    assert "cannot be used yet" in made.reason
    assert "apology.yaml" in made.reason
    (made.root / APOLOGY).write_text(text.replace("question: ", "question: Now, "))
    assert made.look() == {}
    assert made.look(QUIET)


def test_rules_that_contradict_each_other_start_nothing(made):
    shutil.move(made.root / APOLOGY, made.root / "apology.yaml")
    assert made.settle() == {}
    assert "cannot be used yet" in made.reason
    assert "apology" in made.reason
    assert made.requested() == set()


def test_a_clock_that_is_set_back_delays_a_change_and_loses_none(made):
    made.edit("question: ", "question: Now, ")
    made.look()
    assert made.look(-3600) == {}
    assert "quiet" in made.reason
    assert made.look(QUIET)


def test_a_materialization_by_hand_requests_nothing(made):
    for key in ("safety_prompts", "grader", "rbr/ppo_checkpoint", "rules"):
        made.instance.report_runless_asset_event(dg.AssetMaterialization(dagster_key(key)))
        assert made.requested() == set()


def test_a_report_of_what_people_did_not_change_requests_nothing(made):
    made.root.joinpath("rules/remark.txt").write_text("no rule")
    assert made.settle() == {}
    assert made.requested() == set()


def test_changes_during_a_run_become_one_run_after_it(made):
    made.edit("question: ", "question: Now, ")
    made.settle()
    assert made.requested() == RULES_ONWARD
    # Its rules are compiled, and edited twice after that.
    made.compile()
    for word in ("Well, ", "Oh, "):
        made.edit("question: ", f"question: {word}")
        assert made.settle()
        assert made.requested() == set()
    made.ends()
    assert made.look() == {}
    assert made.requested() == RULES_ONWARD
    made.compile()
    made.ends()
    assert made.look() == {}
    assert "unchanged" in made.reason
    assert made.requested() == set()


def test_a_change_during_a_run_of_the_whole_graph_by_hand_waits_for_its_end(made):
    made.starts(EVERYTHING)
    made.compile()
    made.edit("question: ", "question: Now, ")
    assert made.settle()
    assert made.requested() == set()
    made.ends()
    assert made.requested() == RULES_ONWARD


def test_a_change_that_the_run_before_compiled_already_is_not_run_twice(made):
    made.edit("question: ", "question: Now, ")
    made.settle()
    assert made.requested()
    # Edited before the run came to compile them.
    made.edit("question: Now, ", "question: Well, ")
    made.compile()
    made.ends()
    assert made.settle() == {}
    assert "unchanged" in made.reason
    assert made.requested() == set()


def test_a_change_that_is_reported_before_the_run_compiles_it_is_not_run_twice(made):
    made.edit("question: ", "question: Now, ")
    made.settle()
    assert made.requested()
    made.edit("question: Now, ", "question: Well, ")
    assert made.settle()
    made.compile()
    assert made.requested() == set()
    made.ends()
    assert made.look() == {}
    assert made.requested() == set()


def test_a_change_between_two_evaluations_that_also_see_the_rules_made_is_not_lost(made):
    made.edit("question: ", "question: Now, ")
    made.settle()
    assert made.requested()
    made.compile()
    made.edit("question: Now, ", "question: Well, ")
    assert made.settle()
    made.ends()
    assert made.requested() == RULES_ONWARD


def test_a_change_taken_back_and_made_again_is_three_runs(made):
    for old, new in [(": ", ": Now, "), (": Now, ", ": "), (": ", ": Now, ")]:
        made.edit(f"question{old}", f"question{new}")
        assert made.settle()
        assert made.requested() == RULES_ONWARD
        made.compile()
        made.ends()
        assert made.look() == {}
        assert made.requested() == set()


def test_a_change_taken_back_during_its_run_is_run_after_it(made):
    made.edit("question: ", "question: Now, ")
    made.settle()
    made.requested()
    made.compile()
    made.edit("question: Now, ", "question: ")
    assert made.settle()
    assert made.requested() == set()
    made.ends()
    assert made.requested() == RULES_ONWARD


def test_a_look_that_is_evaluated_twice_starts_one_run(made):
    made.edit("question: ", "question: Now, ")
    made.look()
    cursor = made.cursor
    assert made.look(QUIET)
    made.cursor = cursor  # as if the daemon died before it stored the cursor
    assert made.look(0)
    assert made.requested() == RULES_ONWARD
    assert made.requested() == set()


@pytest.mark.parametrize("compiled", [False, True], ids=["before", "after"])
def test_a_run_that_fails_is_not_started_again_until_the_rules_change(made, compiled):
    made.edit("question: ", "question: Now, ")
    made.settle()
    assert made.requested()
    if compiled:
        made.compile()
    made.ends(success=False)
    for _ in range(3):
        assert made.look() == {}
        assert made.requested() == set()
    assert ("unchanged" if compiled else "if its run failed") in made.reason
    made.edit("question: Now, ", "question: Well, ")
    assert made.settle()
    assert made.requested() == RULES_ONWARD


def test_rules_that_were_compiled_by_hand_and_changed_back_are_made_again(made):
    made.edit("question: ", "question: Now, ")
    made.compile()
    made.edit("question: Now, ", "question: ")
    made.requested()
    assert made.look()
    assert made.requested() == RULES_ONWARD


def test_the_week_starts_a_run_unless_one_is_in_progress(tmp_path, defs):
    weekly = defs.get_schedule_def("weekly")
    assert weekly.job_name == "rbr"
    assert weekly.cron_schedule == "0 3 * * 1"
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        project = Project(tmp_path, instance, defs)
        time = datetime.datetime(2026, 1, 5, 3)
        context = dg.build_schedule_context(instance, scheduled_execution_time=time)
        assert len(weekly.evaluate_tick(context).run_requests) == 1
        project.starts(RULES_ONWARD)
        data = weekly.evaluate_tick(context)
        assert data.run_requests == []
        assert "in progress" in data.skip_message
        project.ends(success=False)
        assert len(weekly.evaluate_tick(context).run_requests) == 1


def test_nothing_starts_by_itself_until_it_is_switched_on(defs):
    stopped = dg.DefaultSensorStatus.STOPPED
    assert defs.get_sensor_def("rules_changed").default_status == stopped
    assert defs.get_schedule_def("weekly").default_status == dg.DefaultScheduleStatus.STOPPED
    # It only follows what rules_changed reports: one click switches all on.
    assert defs.get_sensor_def("rule_automation").default_status == dg.DefaultSensorStatus.RUNNING


def test_the_instance_runs_automation_one_run_at_a_time_and_retries_crashed_runs(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    use_home(tmp_path)
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_concurrency_config().run_queue_config
        assert runs is not None
        assert runs.max_concurrent_runs == 1
        assert instance.auto_materialize_use_sensors
        assert "ASSET" in instance.get_required_daemon_types()
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 3
        assert not instance.run_retries_retry_on_asset_or_op_failure
