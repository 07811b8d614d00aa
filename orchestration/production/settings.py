"""``production.yaml``: where services listen and store, and which environment variables hold secrets."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from orchestration.notify import URL
from pipeline.profile import read_yaml, validated
from rbr.errors import RBRError
from rbr.options import Options

FILE = "production.yaml"
Port = Field(gt=0, lt=65536)


class Secret(Options):
    """A secret, by the name of the environment variable that holds it; its value is never written."""

    env: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")

    def value(self) -> str | None:
        """The variable's value, None where it is not set or empty."""
        return os.environ.get(self.env) or None


class Postgres(Options):
    """A running PostgreSQL server, one user and two databases."""

    host: str = "127.0.0.1"
    port: int = Port
    user: str = "rbr"
    password: Secret = Secret(env="RBR_POSTGRES_PASSWORD")
    dagster_database: str = Field("rbr_dagster", pattern=r"^[a-z][a-z0-9_]*$")
    mlflow_database: str = Field("rbr_mlflow", pattern=r"^[a-z][a-z0-9_]*$")

    @property
    def mlflow_address(self) -> str:
        """SQLAlchemy's address of MLflow's database, without the password."""
        server = f"{self.user}@{self.host}:{self.port}"
        return f"postgresql+psycopg2://{server}/{self.mlflow_database}"


class MLflow(Options):
    """The tracking server. ``artifacts`` is a folder or a URL that MLflow supports."""

    host: str = "127.0.0.1"
    port: int = Port
    artifacts: str = "mlflow/artifacts"
    user: str = "rbr"
    password: Secret = Secret(env="RBR_MLFLOW_PASSWORD")
    secret_key: Secret = Secret(env="RBR_MLFLOW_SECRET_KEY")


class Dagster(Options):
    """Webserver, code server, and how runs are queued and retried."""

    host: str = "127.0.0.1"
    port: int = Port
    code_server_port: int = Port
    max_concurrent_runs: int = Field(1, ge=1)
    max_retries: int = Field(3, ge=0)


class Notifications(Options):
    """Where failed gates and releases are announced."""

    webhook: Secret = Secret(env=URL)
    allow_private: bool = False


class Production(Options):
    """All of ``production.yaml``."""

    state: Path = Path(".prod")
    postgres: Postgres
    mlflow: MLflow
    dagster: Dagster
    notifications: Notifications = Notifications()
    start_timeout: float = Field(240, gt=0, description="seconds for each service")

    def secrets(self) -> dict[str, str]:
        """Values of the required secrets, by variable.

        Raises:
            RBRError: naming all variables that are missing.
        """
        required = [self.postgres.password, self.mlflow.password, self.mlflow.secret_key]
        missing = [secret.env for secret in required if secret.value() is None]
        if missing:
            raise RBRError(f"set the environment variables {', '.join(missing)}", Path(FILE))
        values = {secret.env: secret.value() or "" for secret in required}
        if len(values[self.mlflow.password.env]) < 12:
            raise RBRError(
                f"{self.mlflow.password.env}: MLflow requires at least 12 characters", Path(FILE)
            )
        return values


def read_production(root: Path) -> Production:
    """Read ``production.yaml`` under ``root``.

    Raises:
        RBRError: naming the file and the key at fault.
    """
    path = root / FILE
    return validated(Production, read_yaml(path), path)
