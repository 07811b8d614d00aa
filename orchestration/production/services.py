"""The four services: their commands, their settings files, and how each is seen to be healthy."""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orchestration import notify
from orchestration.home import instance_settings
from orchestration.production.settings import Production

LOCATION = "rule-based-rewards"


@dataclass(frozen=True)
class Service:
    """A process: ``healthy`` returns None, or what is wrong with it in a few words."""

    name: str
    command: list[str]
    address: str
    healthy: Callable[[], str | None]


def state_folder(root: Path, settings: Production) -> Path:
    """Logs, process list and Dagster's home."""
    return root / settings.state


def environment(root: Path, settings: Production) -> dict[str, str]:
    """The environment of every process: where the stores are, and the secrets.

    PostgreSQL's password goes by libpq's PGPASSWORD, so that it stands in no address.

    Raises:
        RBRError: if a secret is missing.
    """
    secrets = settings.secrets()
    postgres, mlflow = settings.postgres, settings.mlflow
    artifacts = mlflow.artifacts
    own = {
        **os.environ,
        **secrets,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "DAGSTER_HOME": str(state_folder(root, settings) / "dagster"),
        "PGPASSWORD": secrets[postgres.password.env],
        "MLFLOW_BACKEND_STORE_URI": _database(settings),
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts if "://" in artifacts else str(root / artifacts),
        "MLFLOW_AUTH_CONFIG_PATH": str(state_folder(root, settings) / "mlflow_auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": mlflow.user,
        "MLFLOW_AUTH_ADMIN_PASSWORD": secrets[mlflow.password.env],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets[mlflow.secret_key.env],
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"http://{mlflow.host}:{mlflow.port}",
        "MLFLOW_TRACKING_USERNAME": mlflow.user,
        "MLFLOW_TRACKING_PASSWORD": secrets[mlflow.password.env],
        "PYTHONUNBUFFERED": "1",
    }
    webhook = settings.notifications.webhook.value()
    if webhook:
        own[notify.URL] = webhook
        own[notify.ALLOW_PRIVATE] = str(settings.notifications.allow_private).lower()
    return own


def _database(settings: Production) -> str:
    own = settings.postgres
    return f"postgresql+psycopg2://{own.user}@{own.host}:{own.port}/{own.mlflow_database}"


def write_settings(root: Path, settings: Production) -> None:
    """Write ``dagster.yaml``, ``workspace.yaml`` and MLflow's auth file; no secret is in them."""
    state = state_folder(root, settings)
    home = state / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    postgres, own = settings.postgres, settings.dagster
    dagster = instance_settings(own.max_retries, own.max_concurrent_runs)
    dagster["storage"] = {
        "postgres": {
            "postgres_db": {
                "username": postgres.user,
                "password": {"env": postgres.password.env},
                "hostname": postgres.host,
                "port": postgres.port,
                "db_name": postgres.dagster_database,
                # SQLAlchemy's own choice of driver is not the one that dagster-postgres brings.
                "scheme": "postgresql+psycopg2",
            }
        }
    }
    code = {"host": "127.0.0.1", "port": own.code_server_port, "location_name": LOCATION}
    (home / "dagster.yaml").write_text(yaml.safe_dump(dagster), encoding="utf-8")
    workspace = {"load_from": [{"grpc_server": code}]}
    (home / "workspace.yaml").write_text(yaml.safe_dump(workspace), encoding="utf-8")
    (state / "mlflow_auth.ini").write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = {_database(settings)}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
        encoding="utf-8",
    )


def services(root: Path, settings: Production) -> list[Service]:
    """In the order in which they are started."""
    python = [sys.executable, "-m"]
    workspace = str(state_folder(root, settings) / "dagster" / "workspace.yaml")
    mlflow, dagster = settings.mlflow, settings.dagster
    return [
        Service(
            "mlflow",
            [*python, "mlflow", "server", "--app-name", "basic-auth", "--workers", "1",
             "--host", mlflow.host, "--port", str(mlflow.port)],
            f"http://{mlflow.host}:{mlflow.port}",
            lambda: _mlflow(settings),
        ),
        Service(
            "code server",
            [*python, "dagster", "code-server", "start", "--host", "127.0.0.1",
             "--port", str(dagster.code_server_port), "--location-name", LOCATION,
             "--use-python-environment-entry-point",
             "--module-name", "orchestration.definitions", "--working-directory", str(root)],
            f"127.0.0.1:{dagster.code_server_port}",
            lambda: _code_server(dagster.code_server_port),
        ),
        Service(
            "webserver",
            [sys.executable, "-m", "dagster_webserver", "--host", dagster.host,
             "--port", str(dagster.port), "--workspace", workspace],
            f"http://{dagster.host}:{dagster.port}",
            lambda: _webserver(settings),
        ),
        Service(
            "daemon",
            [*python, "dagster._daemon", "run", "--workspace", workspace],
            "schedules, sensors, run queue, retries",
            lambda: _daemon(settings),
        ),
    ]  # fmt: skip


def _local(host: str) -> str:
    return "127.0.0.1" if host == "0.0.0.0" else host


def _get(url: str, headers: dict[str, str] | None = None, body: Any = None) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data=data, headers={"Content-Type": "application/json", **(headers or {})}
    )
    try:
        # A proxy of the environment has no business between two services of this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def _mlflow(settings: Production) -> str | None:
    own = settings.mlflow
    url = f"http://{_local(own.host)}:{own.port}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        if _get(url)[0] != 401:
            return "answers without a password"
        pair = base64.b64encode(f"{own.user}:{own.password.value()}".encode()).decode()
        status, _ = _get(url, {"Authorization": f"Basic {pair}"})
    except OSError as error:
        return f"does not answer ({getattr(error, 'reason', error)})"
    if status == 401:
        return f"refuses the password of {own.password.env}"
    return None if status == 200 else f"answers {status}"


def _code_server(port: int) -> str | None:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service="DagsterApi"), timeout=10)
        except grpc.RpcError as error:
            return f"does not answer ({error.code().name.lower()})"
    serving = health_pb2.HealthCheckResponse.SERVING
    return None if answer.status == serving else "not serving yet"


_LOADED = """{ workspaceOrError { ... on Workspace { locationEntries {
    name locationOrLoadError { __typename ... on PythonError { message } } } } } }"""


def _webserver(settings: Production) -> str | None:
    own = settings.dagster
    try:
        url = f"http://{_local(own.host)}:{own.port}/graphql"
        status, content = _get(url, body={"query": _LOADED})
    except OSError as error:
        return f"does not answer ({getattr(error, 'reason', error)})"
    if status != 200:
        return f"answers {status}"
    found = json.loads(content)["data"]["workspaceOrError"].get("locationEntries") or []
    kinds = [(entry["locationOrLoadError"] or {}).get("__typename") for entry in found]
    return None if kinds == ["RepositoryLocation"] else "has not loaded the code"


def _daemon(settings: Production) -> str | None:
    own = settings.dagster
    query = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
    try:
        url = f"http://{_local(own.host)}:{own.port}/graphql"
        status, content = _get(url, body={"query": query})
    except OSError:
        return "unknown: the webserver does not answer"
    if status != 200:
        return f"unknown: the webserver answers {status}"
    rows = json.loads(content)["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
    late = [row["daemonType"].lower() for row in rows if row["required"] and not row["healthy"]]
    return f"no heartbeat of {', '.join(late)}" if late else None
