"""Dagster's entry point: assets, the job, sensors, the schedule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from assets import graph_of
from orchestration.ablation.job import ablation_job
from orchestration.automation import (
    automation_sensor,
    rules_sensor,
    weekly_schedule,
    written_rules,
)
from orchestration.dagster_assets import dagster_asset
from orchestration.root import find_root
from pipeline.profile import Settings, read_settings
from rbr.errors import RBRError

JOB = "rbr"


def definitions(
    root: Path, loggers: Mapping[str, dg.LoggerDefinition] | None = None
) -> dg.Definitions:
    """All definitions over a workspace.

    A run makes ``launch.artifacts`` at a time. With ``scale.kubernetes`` each artifact has a pod of its own.
    """
    settings = _settings(root)
    artifacts = graph_of(settings)
    job = dg.define_asset_job(
        JOB,
        # The written rules are reported, not made.
        selection=dg.AssetSelection.all() - dg.AssetSelection.assets(written_rules.key),
        description="The whole graph: what changed is made, the rest is restored.",
    )
    return dg.Definitions(
        assets=[
            written_rules,
            *(dagster_asset(artifact, artifacts, root) for artifact in artifacts.values()),
        ],
        jobs=[job, ablation_job(root)],
        sensors=[rules_sensor(root), automation_sensor],
        schedules=[weekly_schedule(JOB)],
        executor=executor_of(settings),
        loggers=loggers,
    )


def _settings(root: Path) -> Settings:
    """The profile's settings; those that cannot be read are the run's to report."""
    try:
        return read_settings(root)[1]
    except RBRError:
        return Settings()


def executor_of(settings: Settings) -> dg.ExecutorDefinition:
    """The executor that the profile asks for."""
    if not settings.scale.kubernetes:
        at_a_time = settings.launch.artifacts
        if at_a_time == 1:
            return dg.in_process_executor
        # Forks of a process that has imported the libraries, which takes seconds.
        forked = {"forkserver": {"preload_modules": ["orchestration.artifact_process"]}}
        return dg.multiprocess_executor.configured(
            {"max_concurrent": at_a_time, "start_method": forked}
        )
    try:
        from dagster_k8s import k8s_job_executor
    except ImportError as error:
        raise RBRError("scale.kubernetes needs dagster-k8s: pip install '.[k8s]'") from error
    # An artifact's pod goes with its run's: nothing is left behind by a run that was ended.
    return k8s_job_executor.configured({"enable_owner_references": True})


@dg.definitions
def defs() -> dg.Definitions:
    """Those of the workspace that Dagster runs in; made when Dagster loads the module."""
    return definitions(find_root())
