"""What Dagster is told: assets, partitions, blocking checks."""

import dagster as dg
import pytest

from orchestration.definitions import definitions
from orchestration.ablation import read_ablations
from pipeline.profile import VARIANTS
from rbr.steps import STEPS


@pytest.fixture(scope="module")
def defs(root):
    return definitions(root)


def test_a_code_server_can_load_all_of_it(defs):
    dg.Definitions.validate_loadable(defs)


def test_each_ablation_is_a_job_with_an_op_an_arm(defs, root):
    for name, ablation in read_ablations(root).items():
        job = defs.resolve_job_def(f"ablation_{name}")
        assert len(job.nodes) == len(ablation.arms) + 1


def test_every_artifact_is_an_asset_with_its_dependencies(defs):
    graph = defs.resolve_asset_graph()
    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert names == {*STEPS, "written_rules"}
    for name, step in STEPS.items():
        node = graph.get(dg.AssetKey(name))
        observed = {"written_rules"} if name == "rules" else set()
        assert {key.to_user_string() for key in node.parent_keys} == {*step.needs, *observed}
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
