"""The released policy in MLflow's model registry: the ``champion`` alias, its history, its rollback."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestration.lineage.inputs import find_model, new_model
from orchestration.lineage.mlflow_retry import TrackingError
from rbr.errors import RBRError
from rbr.files import iter_json_lines

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

    from mlflow import MlflowClient

MODEL = "rbr-policy"
CHAMPION = "champion"
# A tag of the registered model: the versions that were champion, oldest first.
HISTORY = "champion.history"
JUDGED = "judged.jsonl"


def tracking_address(root: Path) -> str:
    """``MLFLOW_TRACKING_URI``, or the SQLite file under ``mlflow/``.

    Raises:
        RBRError: if a password stands in the address: it would be shown in errors and logs.
    """
    address = os.environ.get("MLFLOW_TRACKING_URI")
    if address and urlsplit(address).password:
        raise RBRError(
            "MLFLOW_TRACKING_URI holds a password: remove it, and set MLFLOW_TRACKING_USERNAME and"
            " MLFLOW_TRACKING_PASSWORD (a database's: PGPASSWORD)"
        )
    file = str(root / "mlflow" / "mlflow.db")
    if not address and {"%", "?"} & set(file):  # which mean something in an address
        from sqlalchemy import URL

        return URL.create("sqlite", database=file).render_as_string()
    return address or f"sqlite:///{file}"


def model_of(profile: str) -> str:
    """The registered model of a profile: profiles are never compared with each other."""
    return f"{MODEL}-{profile}"


def champion(client: MlflowClient, profile: str) -> Any | None:
    """The profile's champion version, or None before the first release."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(model_of(profile), CHAMPION)
    except MlflowException as error:
        # After any other error nobody knows: a release would not be compared with its champion.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def judged_rows(client: MlflowClient, version: Any) -> list[dict[str, Any]] | None:
    """The judged answers kept with a version, or None if none were kept.

    Raises:
        TrackingError: if MLflow does not say whether there are any, or does not deliver them.
    """
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            files = {file.path for file in client.list_artifacts(version.run_id)}
            if JUDGED not in files:
                return None
            path = client.download_artifacts(version.run_id, JUDGED, folder)
        except (MlflowException, OSError) as error:
            raise TrackingError(
                f"the judged answers of version {version.version} cannot be read: {error}"
            ) from error
        return [row for _, row in iter_json_lines(Path(path))]


def promote(
    client: MlflowClient,
    profile: str,
    folder: Path,
    run_id: str,
    tags: dict[str, Any],
    judged: Path,
    card: str = "",
) -> str:
    """Register the checkpoint folder as a new version and move the champion alias to it.

    The version has a copy of the checkpoint: the next run makes another one in its folder. A checkpoint
    that is registered already (same DVC hash) gets no second version.

    Args:
        judged: rows of the policy's evaluation, kept with the run for the comparison with the next.
        card: the model card, as Markdown.

    Returns:
        The version's number.
    """
    name = model_of(profile)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description="Policy trained with rule-based rewards.")
    same = [
        version
        for version in client.search_model_versions(f"name = '{name}'")
        if version.tags.get("dvc.hash") == tags["dvc.hash"]
    ]
    if same:
        version = same[0]
    else:
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / JUDGED
            copy.write_bytes(judged.read_bytes())
            client.log_artifact(run_id, str(copy))
        model = _stored_model(client, folder, run_id, tags["dvc.hash"], card)
        version = client.create_model_version(
            name,
            # Not models:/..., which a store would look up in MLflow's global address.
            model.artifact_location,
            run_id=run_id,
            tags={k: str(v) for k, v in tags.items()},
            description=card,
            model_id=model.model_id,
        )
        versions = json.dumps([{"name": name, "version": str(version.version)}])
        client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": versions})
    number = str(version.version)
    champions = history(client, profile)
    if champions[-1:] != [number]:
        client.set_registered_model_tag(name, HISTORY, ",".join([*champions, number]))
    client.set_registered_model_alias(name, CHAMPION, number)
    return number


def _stored_model(
    client: MlflowClient, folder: Path, run_id: str, version: str, card: str
) -> LoggedModel:
    """The logged model of a checkpoint, with its files, signature and card."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    experiment = client.get_run(run_id).info.experiment_id
    model = find_model(client, experiment, version)
    if model is None:  # another MLflow saw the training
        model = new_model(client, run_id, "policy", version, {})
    signature = ModelSignature(
        Schema([ColSpec(DataType.string, "prompt")]),
        Schema([ColSpec(DataType.string, "completion")]),
    )
    described = Model(run_id=model.source_run_id, signature=signature, model_id=model.model_id)
    described.add_flavor("huggingface", task="text-generation")
    with tempfile.TemporaryDirectory() as scratch:
        described.save(str(Path(scratch) / "MLmodel"))
        (Path(scratch) / "README.md").write_text(card, encoding="utf-8")
        client.log_model_artifacts(model.model_id, str(folder))
        client.log_model_artifacts(model.model_id, scratch)
    return model


def history(client: MlflowClient, profile: str) -> list[str]:
    """Versions that were champion, oldest first; the last is the champion."""
    found = client.search_registered_models(f"name = '{model_of(profile)}'")
    numbers = found[0].tags.get(HISTORY, "") if found else ""
    return [number for number in numbers.split(",") if number]


def champions(client: MlflowClient, profile: str) -> list[Any]:
    """The versions that were champion and were not rolled back, the highest F1* first."""
    name = model_of(profile)
    numbers = dict.fromkeys(history(client, profile))
    versions = [client.get_model_version(name, number) for number in numbers]
    return sorted(versions, key=lambda version: -float(version.tags["f1_star"]))


def rollback(client: MlflowClient, profile: str) -> tuple[str, str]:
    """Move the champion alias back to the previous version; both stay registered.

    Returns:
        The version that was champion, and the one that is now.

    Raises:
        RBRError: if there is no previous version.
    """
    champions = history(client, profile)
    if len(champions) < 2:
        what = f"version {champions[0]} is the first" if champions else "nothing was released"
        raise RBRError(f"no champion to go back to for profile '{profile}': {what}")
    name = model_of(profile)
    # The alias first: after a kill in between the history's end is not the champion; promote repairs it.
    client.set_registered_model_alias(name, CHAMPION, champions[-2])
    client.set_registered_model_tag(name, HISTORY, ",".join(champions[:-1]))
    return champions[-1], champions[-2]
