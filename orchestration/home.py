"""Dagster's home under the project: runs, events and schedules live in ``.dagster/``."""

from __future__ import annotations

import os
from pathlib import Path

SETTINGS = """\
telemetry:
  enabled: false
nux:
  enabled: false
# All assets share the pool "workspace": runs over one working copy wait for each other.
concurrency:
  pools:
    default_limit: 1
    granularity: run
"""


def use_home(root: Path) -> Path:
    """Point Dagster at ``.dagster/`` (unless ``DAGSTER_HOME`` says otherwise); returns the folder."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(root / ".dagster")))
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        settings.write_text(SETTINGS, encoding="utf-8")
    return home
