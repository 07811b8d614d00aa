"""Which MLflow run made an artifact here: what is restored later links to it, without asking a server."""

from __future__ import annotations

from pathlib import Path

from orchestration.lineage.registry import tracking_address
from orchestration.links import mlflow_url
from rbr.files import read_json, write_json


def _path(root: Path, stage: str) -> Path:
    return root / ".cache" / "runs" / f"{stage}.json"


def store(root: Path, stage: str, version: str, run_id: str, number: str) -> None:
    """Keep the run that made an artifact's data version, and the number of its experiment."""
    path = _path(root, stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"version": version, "run": run_id, "experiment": number})


def found(root: Path, stage: str, version: str) -> tuple[str | None, str | None]:
    """The run that made this data version, and its page; None where another machine made it."""
    path = _path(root, stage)
    kept = read_json(path) if path.is_file() else {}
    if kept.get("version") != version:
        return None, None
    return kept["run"], run_url(root, kept["experiment"], kept["run"])


def experiment(root: Path) -> str | None:
    """MLflow's experiment of the runs that are known here."""
    for path in (root / ".cache" / "runs").glob("*.json"):
        return str(read_json(path)["experiment"])
    return None


def run_url(root: Path, number: str, run_id: str) -> str | None:
    """The page of a run in a browser; None where nobody serves one."""
    address = mlflow_url(root, tracking_address(root))
    return f"{address}/#/experiments/{number}/runs/{run_id}" if address else None
