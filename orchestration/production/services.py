"""The four services: where they listen, their environment and settings, and when each is healthy."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import requests
import yaml

from orchestration import notify
from orchestration.dagster_home import instance_settings
from orchestration.production.settings import Production
from orchestration.root import ROOT


def addresses(settings: Production) -> dict[str, str]:
    """Where each program of ``supervisord.conf`` listens, in the order in which they are started."""
    mlflow, dagster = settings.mlflow, settings.dagster
    return {
        "mlflow": f"http://{mlflow.host}:{mlflow.port}",
        "code-server": f"127.0.0.1:{dagster.code_server_port}",
        "webserver": f"http://{dagster.host}:{dagster.port}",
        "daemon": "schedules, sensors, run queue, retries",
    }


def problem(service: str, settings: Production) -> str | None:
    """What is wrong with a service in a few words; None if it is healthy."""
    checks = {
        "mlflow": _mlflow,
        "code-server": _code_server,
        "webserver": _webserver,
        "daemon": _daemon,
    }
    try:
        return checks[service](settings)
    except requests.RequestException as error:
        return f"does not answer ({type(error).__name__})"


def environment(root: Path, settings: Production) -> dict[str, str]:
    """The environment of every process: addresses, where the stores are, and the secrets.

    PostgreSQL's password is in libpq's PGPASSWORD, so that no address contains it.

    Raises:
        RBRError: if a secret is missing.
    """
    secrets = settings.secrets()
    state, mlflow, dagster = root / settings.state, settings.mlflow, settings.dagster
    variables = {
        **os.environ,
        **secrets,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        ROOT: str(root),
        "RBR_STATE": str(state),
        "RBR_MLFLOW_HOST": mlflow.host,
        "RBR_MLFLOW_PORT": str(mlflow.port),
        "RBR_DAGSTER_HOST": dagster.host,
        "RBR_DAGSTER_PORT": str(dagster.port),
        "RBR_CODE_SERVER_PORT": str(dagster.code_server_port),
        "DAGSTER_HOME": str(state / "dagster"),
        "PGPASSWORD": secrets[settings.postgres.password.env],
        "MLFLOW_BACKEND_STORE_URI": settings.postgres.mlflow_address,
        "MLFLOW_ARTIFACTS_DESTINATION": (
            mlflow.artifacts if "://" in mlflow.artifacts else str(root / mlflow.artifacts)
        ),
        "MLFLOW_AUTH_CONFIG_PATH": str(state / "mlflow_auth.ini"),
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
        variables[notify.URL] = webhook
        variables[notify.ALLOW_PRIVATE] = str(settings.notifications.allow_private).lower()
    return variables


def write_settings(root: Path, settings: Production) -> None:
    """Write ``dagster.yaml``, ``workspace.yaml`` and MLflow's auth file; no secret is in them."""
    state, postgres = root / settings.state, settings.postgres
    home = state / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    database = {
        "username": postgres.user,
        "password": {"env": postgres.password.env},
        "hostname": postgres.host,
        "port": postgres.port,
        "db_name": postgres.dagster_database,
        # SQLAlchemy's own choice of driver is not the one that dagster-postgres brings.
        "scheme": "postgresql+psycopg2",
    }
    dagster = {
        **instance_settings(settings.dagster.max_retries, settings.dagster.max_concurrent_runs),
        "storage": {"postgres": {"postgres_db": database}},
    }
    code_server = {
        "host": "127.0.0.1",
        "port": settings.dagster.code_server_port,
        "location_name": "rule-based-rewards",
    }
    workspace = {"load_from": [{"grpc_server": code_server}]}
    (home / "dagster.yaml").write_text(yaml.safe_dump(dagster), encoding="utf-8")
    (home / "workspace.yaml").write_text(yaml.safe_dump(workspace), encoding="utf-8")
    (state / "mlflow_auth.ini").write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = {postgres.mlflow_address}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
        encoding="utf-8",
    )


def _request(method: str, url: str, **options: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # no proxy between services of one machine
        return session.request(
            method, url.replace("//0.0.0.0:", "//127.0.0.1:"), timeout=10, **options
        )


def _mlflow(settings: Production) -> str | None:
    url = f"{addresses(settings)['mlflow']}/api/2.0/mlflow/experiments/search?max_results=1"
    if _request("GET", url).status_code != 401:
        return "answers without a password"
    password = settings.mlflow.password
    status = _request("GET", url, auth=(settings.mlflow.user, password.value() or "")).status_code
    if status == 401:
        return f"refuses the password of {password.env}"
    return None if status == 200 else f"answers {status}"


def _code_server(settings: Production) -> str | None:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(addresses(settings)["code-server"]) as channel:
        request = health_pb2.HealthCheckRequest(service="DagsterApi")
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
        except grpc.RpcError as error:
            return f"does not answer ({error.code().name.lower()})"
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return None if serving else "is not serving yet"


def _graphql(settings: Production, query: str) -> dict[str, Any]:
    url = f"{addresses(settings)['webserver']}/graphql"
    answer = _request("POST", url, json={"query": query})
    answer.raise_for_status()
    return dict(answer.json()["data"])


def _webserver(settings: Production) -> str | None:
    query = """{ workspaceOrError { ... on Workspace { locationEntries {
        locationOrLoadError { __typename } } } } }"""
    found = _graphql(settings, query)["workspaceOrError"].get("locationEntries") or []
    loaded = [(entry["locationOrLoadError"] or {}).get("__typename") for entry in found]
    return None if loaded == ["RepositoryLocation"] else "has not loaded the code"


def _daemon(settings: Production) -> str | None:
    query = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
    try:
        health = _graphql(settings, query)["instance"]["daemonHealth"]
    except requests.RequestException:
        return "unknown: the webserver does not answer"
    late = [
        daemon["daemonType"].lower()
        for daemon in health["allDaemonStatuses"]
        if daemon["required"] and not daemon["healthy"]
    ]
    return f"no heartbeat of {', '.join(late)}" if late else None
