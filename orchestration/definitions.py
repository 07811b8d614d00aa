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

ROOT = Path(__file__).resolve().parent.parent


def definitions(
    root: Path, loggers: Mapping[str, dg.LoggerDefinition] | None = None
) -> dg.Definitions:
    """All definitions over a workspace.

    Runs execute in one process, one step after another: each step uses all cores and one model.
    """
    sensors, schedules = automation(root)
    return dg.Definitions(
        assets=dg.load_assets_from_package_module(assets),
        jobs=[*JOBS, *ablation_jobs(root)],
        sensors=sensors,
        schedules=schedules,
        resources={"pipeline": Pipeline(root=str(root))},
        executor=dg.in_process_executor,
        loggers=loggers,
    )


defs = definitions(ROOT)
