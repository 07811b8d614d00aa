"""What Dagster is told: assets, partitions, blocking checks, automation."""

import dagster as dg
import pytest

from orchestration.definitions import definitions
from rbr.settings import VARIANTS
from rbr.steps import STEPS


@pytest.fixture(scope="module")
def defs(root):
    return definitions(root)


@pytest.fixture
def sensor(workspace):
    return definitions(workspace.root).get_sensor_def("rules_changed")


def test_every_artifact_is_an_asset_with_its_dependencies(defs):
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == set(STEPS)
    for name, step in STEPS.items():
        node = graph.get(dg.AssetKey(name))
        assert {key.to_user_string() for key in node.parent_keys} == set(step.needs)
        partitions = node.partitions_def
        assert (partitions.get_partition_keys() if partitions else []) == (
            list(VARIANTS) if step.variants else []
        )


def test_each_gate_is_a_blocking_check(defs):
    graph = defs.resolve_asset_graph()
    for name, step in STEPS.items():
        keys = graph.get_check_keys_for_assets([dg.AssetKey(name)])
        assert len(keys) == int(step.gate), name
        for key in keys:
            assert graph.get_check_spec(key).blocking


def evaluate(sensor, cursor=None):
    context = dg.build_sensor_context(cursor=cursor)
    return sensor.evaluate_tick(context)


def test_the_sensor_starts_a_run_when_a_rule_changes_its_meaning_only(workspace, sensor):
    first = evaluate(sensor)
    assert len(first.run_requests) == 1
    assert evaluate(sensor, first.cursor).run_requests == []
    path = "rules/propositions/apology.yaml"
    workspace.edit(path, "id: apology", "# remark\nid: apology")
    assert evaluate(sensor, first.cursor).run_requests == []
    workspace.edit(path, "question: ", "question: Now, ")
    second = evaluate(sensor, first.cursor)
    assert len(second.run_requests) == 1
    workspace.edit(path, "question: Now, ", "question: ")
    third = evaluate(sensor, second.cursor)
    assert len(third.run_requests) == 1
    keys = {tick.run_requests[0].run_key for tick in (first, second, third)}
    assert len(keys) == 3


def test_the_sensor_waits_while_the_rules_are_broken(workspace, sensor):
    (workspace.root / "rules" / "reward.yaml").write_text("hard_refusal: [")
    tick = evaluate(sensor)
    assert tick.run_requests == []
    assert "reward.yaml" in tick.skip_message


def test_automation_is_off_until_it_is_switched_on(defs):
    for sensor in ("rules_changed", "graph_goes_on"):
        assert defs.get_sensor_def(sensor).default_status == dg.DefaultSensorStatus.STOPPED
    assert defs.get_schedule_def("weekly").default_status == dg.DefaultScheduleStatus.STOPPED
