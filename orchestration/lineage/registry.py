"""The released policy in MLflow's model registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestration.lineage.tracking import MODEL, Tracking

CHAMPION = "champion"


def champion(tracking: Tracking, profile: str) -> dict[str, str] | None:
    """Tags of the profile's champion version, or None before the first release."""
    from mlflow.exceptions import MlflowException

    try:
        version = tracking.client.get_model_version_by_alias(f"{MODEL}-{profile}", CHAMPION)
    except MlflowException:
        return None
    return dict(version.tags)


def promote(
    tracking: Tracking, profile: str, folder: Path, run_id: str, tags: dict[str, Any]
) -> str:
    """Register the checkpoint folder as a new version and move the champion alias to it.

    A version that already stands for the same checkpoint (same DVC hash) is not made again.

    Returns:
        The version's number.
    """
    name = f"{MODEL}-{profile}"
    client = tracking.client
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description="Policy trained with rule-based rewards.")
    same = [
        version
        for version in client.search_model_versions(f"name = '{name}'")
        if version.tags.get("dvc.hash") == tags["dvc.hash"]
    ]
    version = (
        same[0]
        if same
        else client.create_model_version(
            name, source=folder.as_uri(), run_id=run_id, tags={k: str(v) for k, v in tags.items()}
        )
    )
    client.set_registered_model_alias(name, CHAMPION, version.version)
    return str(version.version)
