"""What a run of MLflow read and made: its datasets, and its model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, LoggedModel

    from mlflow import MlflowClient

# What is in ``data/`` and is no data: digests of code and settings, the compiled rules.
NO_DATA = ("data/code/", "data/rules/")
DIGEST_LENGTH = 36  # MLflow's limit; a folder's DVC hash has as many characters


def dataset_inputs(hashes: Mapping[str, str]) -> list[DatasetInput]:
    """The data among what was read, as MLflow names datasets: path under ``data/``, and DVC hash."""
    from mlflow.entities import Dataset, DatasetInput

    return [
        DatasetInput(
            Dataset(
                path.removeprefix("data/"),
                version[:DIGEST_LENGTH],
                source_type="dvc",
                source=json.dumps({"path": path, "dvc_hash": version}),
            )
        )
        for path, version in hashes.items()
        if path.startswith("data/") and not path.startswith(NO_DATA)
    ]


def new_model(
    client: MlflowClient, run_id: str, name: str, version: str, parameters: Mapping[str, Any]
) -> LoggedModel:
    """A logged model of a run; ``version`` is the DVC hash of its weights."""
    from mlflow.entities import LoggedModelOutput

    model = client.create_logged_model(
        client.get_run(run_id).info.experiment_id,
        name=name,
        source_run_id=run_id,
        tags={"dvc.hash": version},
        params={key: str(value) for key, value in parameters.items()},
        model_type="checkpoint",
    )
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def find_model(client: MlflowClient, experiment: str, version: str) -> LoggedModel | None:
    """The logged model whose weights have this DVC hash."""
    found = client.search_logged_models(
        [experiment], f"tags.`dvc.hash` = '{version}'", max_results=1
    )
    return found[0] if found else None


def link_model(client: MlflowClient, run_id: str, version: str) -> None:
    """Show the logged model with these weights, if there is one, as what a run made."""
    from mlflow.entities import LoggedModelOutput

    model = find_model(client, client.get_run(run_id).info.experiment_id, version)
    if model:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
