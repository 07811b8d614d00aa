"""Dagster's home under the project: runs, events and schedules live in ``.dagster/``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml


def instance_settings(max_retries: int, max_concurrent_runs: int) -> dict[str, Any]:
    """The settings that each ``dagster.yaml`` of ours has.

    A run whose worker died is started again: finished artifacts are restored from DVC's cache, and
    trainings resume from their checkpoint. Bad input and failed gates would fail again; they are not
    retried.
    """
    return {
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
        # Else an artifact's own process begins with a line of Dagster's bookkeeping.
        "python_logs": {"python_log_level": "INFO"},
        "run_monitoring": {"enabled": True, "poll_interval_seconds": 10},
        "run_retries": {
            "enabled": True,
            "max_retries": max_retries,
            "retry_on_asset_or_op_failure": False,
        },
        "concurrency": {"runs": {"max_concurrent_runs": max_concurrent_runs}},
    }


def use_home(root: Path) -> Path:
    """Point Dagster at ``.dagster/`` (unless ``DAGSTER_HOME`` says otherwise); returns the folder."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(root / ".dagster")))
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        # Each run uses all cores.
        settings.write_text(yaml.safe_dump(instance_settings(3, 1)), encoding="utf-8")
    return home
