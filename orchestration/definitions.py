"""Dagster's entry point: assets, jobs, sensors, schedules and the pipeline resource."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dagster as dg

import assets
from orchestration.ablation.jobs import ablation_jobs
from orchestration.automation import automation
from orchestration.jobs import JOBS
from orchestration.resources import Pipeline
from rbr.errors import RBRError
from rbr.settings import read_settings

ROOT = Path(__file__).resolve().parent.parent


def definitions(
    root: Path, loggers: Mapping[str, dg.LoggerDefinition] | None = None
) -> dg.Definitions:
    """All definitions over a workspace.

    Runs execute in one process, one step after another: each step uses all cores and one model. With
    ``scale.kubernetes`` each step has a pod of its own.
    """
    sensors, schedules = automation(root)
    return dg.Definitions(
        assets=dg.load_assets_from_package_module(assets),
        jobs=[*JOBS, *ablation_jobs(root)],
        sensors=sensors,
        schedules=schedules,
        resources={"pipeline": Pipeline(root=str(root))},
        executor=executor_of(root),
        loggers=loggers,
    )


def executor_of(root: Path) -> dg.ExecutorDefinition:
    """The executor that the profile asks for; settings that cannot be read are told by the run."""
    try:
        kubernetes = read_settings(root)[1].scale.kubernetes
    except RBRError:
        kubernetes = False
    if not kubernetes:
        return dg.in_process_executor
    try:
        from dagster_k8s import k8s_job_executor
    except ImportError as error:
        raise RBRError("scale.kubernetes needs dagster-k8s: pip install '.[k8s]'") from error
    # A step's pod goes with its run's: nothing is left behind by a run that was ended.
    return k8s_job_executor.configured({"enable_owner_references": True})


defs = definitions(ROOT)
