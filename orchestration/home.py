"""Dagster's home under the project: runs, events and schedules live in ``.dagster/``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

FORMER = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"


def instance_settings(max_retries: int, max_concurrent_runs: int) -> dict[str, Any]:
    """What every ``dagster.yaml`` of ours says.

    A run whose worker died is started again: DVC gives finished artifacts back and trainings go on
    from their checkpoint. Bad input and failed gates are not tried again: they would fail again.
    """
    return {
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
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
    if not settings.exists() or settings.read_text(encoding="utf-8") == FORMER:
        # Each run uses all cores.
        settings.write_text(yaml.safe_dump(instance_settings(3, 1)), encoding="utf-8")
    return home
