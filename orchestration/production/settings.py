"""``production.yaml``: where things listen and are kept, and which environment variables hold secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from orchestration.notify import URL
from rbr.errors import RBRError, first_problem
from rbr.settings import Section, read_yaml

FILE = "production.yaml"
Port = Field(gt=0, lt=65536)


class Secret(Section):
    """A secret by the name of the environment variable that holds it; its value is never written."""

    env: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")

    def value(self, environment: Mapping[str, str] | None = None) -> str | None:
        """The variable's value, None where it is not set or empty."""
        return (os.environ if environment is None else environment).get(self.env) or None


class Postgres(Section):
    """A running PostgreSQL server, one user and two databases."""

    host: str = "127.0.0.1"
    port: int = Port
    user: str = "rbr"
    password: Secret = Secret(env="RBR_POSTGRES_PASSWORD")
    dagster_database: str = Field("rbr_dagster", pattern=r"^[a-z][a-z0-9_]*$")
    mlflow_database: str = Field("rbr_mlflow", pattern=r"^[a-z][a-z0-9_]*$")


class MLflow(Section):
    """The tracking server. ``artifacts`` is a folder or a URL that MLflow knows."""

    host: str = "127.0.0.1"
    port: int = Port
    artifacts: str = "mlflow/artifacts"
    user: str = "rbr"
    password: Secret = Secret(env="RBR_MLFLOW_PASSWORD")
    secret_key: Secret = Secret(env="RBR_MLFLOW_SECRET_KEY")


class Dagster(Section):
    """Webserver, code server and how runs are queued and retried."""

    host: str = "127.0.0.1"
    port: int = Port
    code_server_port: int = Port
    max_concurrent_runs: int = Field(1, ge=1)
    max_retries: int = Field(3, ge=0)


class Notifications(Section):
    """Where failed gates, failed runs and releases are told."""

    webhook: Secret = Secret(env=URL)
    allow_private: bool = False


class Production(Section):
    """All of ``production.yaml``."""

    state: Path = Path(".prod")
    postgres: Postgres
    mlflow: MLflow
    dagster: Dagster
    notifications: Notifications = Notifications()
    start_timeout: float = Field(240, gt=0, description="seconds a service")

    def secrets(self) -> dict[str, str]:
        """Values of the needed secrets by variable.

        Raises:
            RBRError: naming all variables that are missing.
        """
        needed = [self.postgres.password, self.mlflow.password, self.mlflow.secret_key]
        missing = [secret.env for secret in needed if secret.value() is None]
        if missing:
            raise RBRError(f"set the environment variables {', '.join(missing)}", Path(FILE))
        found = {secret.env: str(secret.value()) for secret in needed}
        if len(found[self.mlflow.password.env]) < 12:
            raise RBRError(f"{self.mlflow.password.env}: MLflow asks for 12 characters", Path(FILE))
        return found


def read_production(root: Path) -> Production:
    """Read ``production.yaml`` under ``root``.

    Raises:
        RBRError: naming the file and the key at fault.
    """
    path = root / FILE
    try:
        return Production.model_validate(read_yaml(path))
    except ValidationError as error:
        raise RBRError(first_problem(error), path) from error
