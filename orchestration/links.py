"""Where the pages that ``make ui`` serves are, for links that Dagster and MLflow show."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.profile import read_yaml

HOST = "127.0.0.1"
SERVER = {
    "host": HOST,
    "port": 5000,
    "pages_port": 3030,
    "workers": 1,
    "artifacts": "mlflow/artifacts",
}
# Set by ``make ui`` for its servers, whose ports an option may move.
PAGES, MLFLOW, DAGSTER = "RBR_PAGES_URL", "RBR_MLFLOW_URL", "RBR_DAGSTER_URL"


def server_settings(root: Path) -> dict[str, Any]:
    """Where the servers of ``make ui`` listen and keep files of runs: ``mlflow/server.yaml`` over defaults."""
    path = root / "mlflow" / "server.yaml"
    return {**SERVER, **(read_yaml(path) if path.exists() else {})}


def servers_urls(root: Path, dagster: str, mlflow: str, pages: str) -> dict[str, str]:
    """The variables by which the servers of ``make ui`` know each other, given their ports."""
    return {
        DAGSTER: f"http://{HOST}:{dagster}",
        MLFLOW: f"http://{server_settings(root)['host']}:{mlflow}",
        PAGES: f"http://{HOST}:{pages}",
    }


def pages_url(root: Path) -> str | None:
    """Where the rule page, data docs, reports and plots are served: by the running ``make ui``, else by
    the next one. None where runs go to another MLflow server: its readers are on other machines.
    """
    if PAGES in os.environ or not os.environ.get("MLFLOW_TRACKING_URI"):
        return os.environ.get(PAGES, f"http://{HOST}:{server_settings(root)['pages_port']}")
    return None


def mlflow_url(root: Path, tracking: str) -> str | None:
    """Where a browser finds MLflow, given the tracking address: a server's own, or that of ``make ui``."""
    if tracking.startswith("http"):
        return tracking
    if MLFLOW in os.environ or not os.environ.get("MLFLOW_TRACKING_URI"):
        settings = server_settings(root)
        return os.environ.get(MLFLOW, f"http://{settings['host']}:{settings['port']}")
    return None


def artifact_url(pages: str, version: str, name: str) -> str:
    """A file of a data version: the same for ever, whatever the workspace holds."""
    return f"{pages}/artifacts/{version}/{quote(name)}"
