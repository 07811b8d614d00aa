"""What a Kubernetes cluster is given: executor, pods' resources, and the values of Dagster's Helm chart."""

import re
from pathlib import Path

import dagster as dg
import pytest
import yaml

from orchestration.dagster_assets import GPU, REQUESTS
from orchestration.definitions import definitions
from orchestration.root import ROOT
from tests.orchestration.stages import PROJECT_GRAPH

dagster_k8s = pytest.importorskip("dagster_k8s", reason="needs the extra k8s: pip install '.[k8s]'")
kubernetes_validate = pytest.importorskip("kubernetes_validate")

CHART_KEYS = {
    # What the chart's own schema (helm/dagster/schema of dagster 1.13) names.
    "dagster-user-deployments", "runLauncher", "dagsterDaemon", "concurrency",
}  # fmt: skip


@pytest.fixture(scope="module")
def values(root):
    return yaml.safe_load((root / "deploy" / "values.yaml").read_text())


@pytest.fixture(scope="module")
def defs(root):
    return definitions(root)


def snake(value):
    """The chart's names as the instance's: camelCase to snake_case, in mappings of its own."""
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", key).lower(): own for key, own in value.items()}


def launcher_config(values):
    """What the chart writes under ``run_launcher`` of ``dagster.yaml``."""
    own = snake(values["runLauncher"]["config"]["k8sRunLauncher"])
    own["env_secrets"] = [secret["name"] for secret in own["env_secrets"]]
    own["run_k8s_config"] = snake(own["run_k8s_config"])
    return {
        "service_account_name": "dagster",
        "dagster_home": "/opt/dagster/dagster_home",
        "instance_config_map": "dagster-instance",
        **own,
    }


def job_of(key, values, defs):
    """The job of an asset's step, as dagster-k8s makes it of the launcher's settings and its tags."""
    from dagster._config import process_config, resolve_to_config_type
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.job import (
        DagsterK8sJobConfig,
        UserDefinedDagsterK8sConfig,
        construct_dagster_k8s_job,
    )

    found = process_config(
        resolve_to_config_type(K8sRunLauncher.config_type()), launcher_config(values)
    )
    assert found.success, found.errors
    config = found.value
    job_config = DagsterK8sJobConfig(
        job_image="rule-based-rewards:latest",
        dagster_home=config["dagster_home"],
        image_pull_policy=config["image_pull_policy"],
        service_account_name=config["service_account_name"],
        instance_config_map=config["instance_config_map"],
        env_secrets=config["env_secrets"],
        volume_mounts=config["volume_mounts"],
        volumes=config["volumes"],
        resources=config["resources"],
    )
    asset = defs.resolve_asset_graph().get(dg.AssetKey(key.split("/"))).assets_def
    tags = asset.op.tags["dagster-k8s/config"]
    if isinstance(tags, str):
        import json

        tags = json.loads(tags)
    user = UserDefinedDagsterK8sConfig.from_dict(
        {**tags, "job_spec_config": config["run_k8s_config"].get("job_spec_config", {})}
    )
    return construct_dagster_k8s_job(
        job_config, ["dagster", "api", "execute_step"], f"step-{re.sub('[_/]', '-', key)}", user
    )


@pytest.mark.parametrize("key", list(PROJECT_GRAPH))
def test_the_job_of_each_asset_passes_the_schema_and_asks_for_its_resources(key, values, defs):
    from kubernetes.client import ApiClient

    job = job_of(key, values, defs)
    manifest = ApiClient().sanitize_for_serialization(job)
    manifest = {"apiVersion": "batch/v1", "kind": "Job", **manifest}
    kubernetes_validate.validate(manifest, "1.33", strict=True)
    pod = manifest["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["requests"] == REQUESTS[PROJECT_GRAPH[key].pool]
    assert (GPU in pod["containers"][0]["resources"]["limits"]) == (
        PROJECT_GRAPH[key].pool is not None
    )
    assert pod["volumes"][-1]["persistentVolumeClaim"]["claimName"] == "rbr-workspace"
    assert manifest["spec"]["ttlSecondsAfterFinished"] > 0


def test_a_broken_manifest_does_not_pass_the_schema(values, defs):
    from kubernetes.client import ApiClient

    manifest = ApiClient().sanitize_for_serialization(job_of("grader", values, defs))
    manifest |= {"apiVersion": "batch/v1", "kind": "Job"}
    manifest["spec"]["template"]["spec"]["container"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, "1.33", strict=True)


def test_the_values_name_what_the_chart_and_the_code_know(values, root, defs):
    assert set(values) == CHART_KEYS
    assert values["runLauncher"]["type"] == "K8sRunLauncher"
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    arguments = deployment["dagsterApiGrpcArgs"]
    assert arguments[:2] == ["--module-name", "orchestration.definitions"]
    mount = deployment["volumeMounts"][0]["mountPath"]
    assert arguments[arguments.index("--working-directory") + 1] == mount
    assert deployment["env"] == [{"name": ROOT, "value": mount}]
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    for key in ("volumes", "volumeMounts", "envSecrets"):
        assert launcher[key] == deployment[key]


def test_the_values_instance_settings_are_dagsters(values):
    from dagster._config import Shape, process_config
    from dagster._core.instance.config import dagster_instance_config_schema

    pools = snake(values["concurrency"]["pools"])
    config = {
        "concurrency": {"pools": pools, "runs": snake(values["concurrency"]["runs"])},
        "run_monitoring": snake(values["dagsterDaemon"]["runMonitoring"]),
    }
    schema = dagster_instance_config_schema()
    found = process_config(Shape({key: schema[key] for key in config}), config)
    assert found.success, found.errors


def test_what_trains_or_grades_has_a_pool_and_the_asset_is_in_it(defs):
    for key, artifact in PROJECT_GRAPH.items():
        node = defs.resolve_asset_graph().get(dg.AssetKey(key.split("/")))
        assert node.assets_def.op.pool == artifact.pool
        heavy = artifact.folder == "models" and not artifact.name.endswith("_model")
        assert artifact.pool or not heavy, key


def profile(workspace, kubernetes):
    workspace.edit("profiles/smoke.yaml", "kubernetes: false", f"kubernetes: {kubernetes}")
    return definitions(Path(workspace.root)).executor


def test_the_profile_decides_in_which_processes_artifacts_are_made(workspace):
    assert definitions(workspace.root).executor is dg.in_process_executor
    workspace.edit("profiles/smoke.yaml", "artifacts: 1", "artifacts: 2")
    assert definitions(workspace.root).executor.name == "multiprocess"
    assert profile(workspace, "true").name == "k8s"
