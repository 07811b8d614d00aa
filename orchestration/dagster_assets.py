"""The artifacts as Dagster assets."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration import metadata
from orchestration.code_digests import code_digests
from orchestration.gate_runs import GateOutcome
from orchestration.interrupts import resend_swallowed_interrupts
from orchestration.lineage.versions import InputsChangedError
from orchestration.links import pages_url
from orchestration.materialize import Made, Workspace, make, restore
from pipeline.artifact import Artifact, upstream
from rbr.errors import RBRError

GRAPH_RUN_TAG = "rbr/graph_run"
RELEASE = dg.AssetKey("model_release")
WRITTEN_RULES = dg.AssetKey("written_rules")
# The page of docs/ that tells of a group's artifacts.
GUIDES = {
    "policy": "rules",
    "data": "data",
    "grading": "grading",
    "rewards": "method",
    "training": "method",
    "evaluation": "method",
    "release": "operations",
}
RULE_PARTITIONS = dg.DynamicPartitionsDefinition(name="rules")
# What an artifact's pod asks of a Kubernetes node, by its pool, for an 8B policy; elsewhere Dagster
# ignores it. A pool's limit is the instance's; without one a pool holds nothing back.
GPU = "nvidia.com/gpu"
REQUESTS: dict[str | None, dict[str, str]] = {
    "grader": {"cpu": "8", "memory": "64Gi", GPU: "4"},
    "training": {"cpu": "16", "memory": "128Gi", GPU: "8"},
    "gpu": {"cpu": "8", "memory": "64Gi", GPU: "1"},
    None: {"cpu": "1", "memory": "4Gi"},
}
# A change reported since the rules were last requested and last made starts one run, once the one that
# makes the release is at its end. (Dagster compares times only of conditions without a boolean
# operator.) Its first evaluation sees no change; what is reported by then counts as one.
_reported = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated())
_changed = (
    _reported.since(dg.AutomationCondition.newly_requested())
    & _reported.since(dg.AutomationCondition.newly_updated())
) | (
    dg.AutomationCondition.initial_evaluation()
    & dg.AutomationCondition.any_deps_match(~dg.AutomationCondition.missing())
)
STARTS = _changed & ~dg.AutomationCondition.asset_matches(
    RELEASE, dg.AutomationCondition.in_progress()
)
# What is downstream of the rules is requested with them, in one run.
FOLLOWS = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.will_be_requested())
# So is what is not, if it was never made.
FILLS = dg.AutomationCondition.missing() & dg.AutomationCondition.asset_matches("rules", STARTS)


def asset_key(artifact: Artifact) -> dg.AssetKey:
    """The artifact's key in Dagster: ``variant/name`` or ``name``."""
    return dg.AssetKey(artifact.key.split("/"))


def dagster_asset(
    artifact: Artifact, artifacts: Mapping[str, Artifact], root: Path
) -> dg.AssetsDefinition:
    """The asset of an artifact under ``root``."""
    written = [WRITTEN_RULES] if artifact.name == "rules" else []

    @dg.asset(
        key=asset_key(artifact),
        deps=[*written, *(dg.AssetKey(key.split("/")) for key in artifact.inputs)],
        description=described(artifact, root),
        group_name=artifact.group,
        # Dagster has pictures of these, and shows three at most.
        kinds={*artifact.kinds, *(["greatexpectations"] if artifact.gate else [])},
        owners=list(artifact.owners),
        check_specs=check_specs(artifact),
        code_version=code_digests()[artifact.name],
        automation_condition=automation_condition(artifact, artifacts),
        pool=artifact.pool,
        op_tags=pod_tags(artifact),
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return materialize(context, artifact.key, root)

    return asset


def check_specs(artifact: Artifact) -> list[dg.AssetCheckSpec]:
    """The gate's check, which blocks, and the alarm's, which does not."""
    specs, key = [], asset_key(artifact)
    if artifact.gate:
        text = "Great Expectations suite; nothing after it runs unless it passes."
        specs.append(dg.AssetCheckSpec("gate", asset=key, blocking=True, description=text))
    if artifact.alarm:
        name, words = artifact.alarm.__name__, inspect.getdoc(artifact.alarm)
        specs.append(dg.AssetCheckSpec(name, asset=key, blocking=False, description=words))
    return specs


def automation_condition(
    artifact: Artifact, artifacts: Mapping[str, Artifact]
) -> dg.AutomationCondition[Any]:
    """When the artifact is requested without a person."""
    if artifact.name == "rules":
        return STARTS
    return FOLLOWS if "rules" in upstream(artifacts, artifact.key) else FILLS


def pod_tags(artifact: Artifact) -> dict[str, Any]:
    """The tag by which dagster-k8s gives an artifact's pod its resources."""
    requests = REQUESTS[artifact.pool]
    # Kubernetes asks a limit of what is not shared; memory beyond the request ends the pod.
    limits = {name: value for name, value in requests.items() if name in ("memory", GPU)}
    resources = {"requests": requests, "limits": limits}
    return {"dagster-k8s/config": {"container_config": {"resources": resources}}}


def materialize(
    context: dg.AssetExecutionContext, key: str, root: Path
) -> dg.MaterializeResult[Any]:
    """Restore or make an artifact; its DVC hash becomes the Dagster data version.

    Raises:
        dg.Failure: for bad input, in one line that names file, place and mend.
    """
    resend_swallowed_interrupts()
    run = context.run
    graph_run = run.tags.get(GRAPH_RUN_TAG) or run.root_run_id or run.run_id
    try:
        workspace = Workspace.open(root, context.log.info)
        if workspace.settings.launch.artifacts > 1:
            from orchestration.artifact_process import enter

            enter(workspace.settings)
        workspace.update_code()
        artifact = workspace.artifact(key)
        made = restore(workspace, artifact)
        if made is not None:
            context.log.info("unchanged: restored, nothing computed")
        while made is None:
            try:
                made = make(workspace, artifact, graph_run, context.log.info, commit=True)
            except InputsChangedError:
                # Compiling takes a second, and whoever edits will stop; the rest takes too long.
                if key != "rules":
                    raise
                context.log.info("edited meanwhile: compiling again")
    except RBRError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    return result_of(artifact, made, root)


def result_of(artifact: Artifact, made: Made, root: Path) -> dg.MaterializeResult[Any]:
    """What Dagster shows of a materialization."""
    checks = []
    if made.gate is not None:
        checks.append(
            check_result("gate", made.gate.only(alarm=False), dg.AssetCheckSeverity.ERROR)
        )
        if artifact.alarm:
            name, warned = artifact.alarm.__name__, made.gate.only(alarm=True)
            checks.append(check_result(name, warned, dg.AssetCheckSeverity.WARN))
    return dg.MaterializeResult(
        asset_key=asset_key(artifact),
        metadata=metadata.of_materialization(made, root),
        check_results=checks,
        data_version=dg.DataVersion(made.data_version),
    )


def check_result(
    name: str, outcome: GateOutcome, severity: dg.AssetCheckSeverity
) -> dg.AssetCheckResult:
    """What Dagster shows of a check."""
    return dg.AssetCheckResult(
        check_name=name,
        passed=outcome.passed,
        severity=severity,
        metadata=metadata.of_check(outcome),
        description="\n".join(f"- {line}" for line in outcome.failures) or None,
    )


def described(artifact: Artifact, root: Path) -> str:
    """What the artifact is, in a sentence, and where to read on."""
    page, pages = GUIDES[artifact.group], pages_url(root)
    guide = f"[docs/{page}.md]({pages}/docs/{page})" if pages else f"docs/{page}.md"
    return f"{artifact.description} See {guide}."
