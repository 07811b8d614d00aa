"""Production in a workspace of its own: real PostgreSQL, MLflow and Dagster, on ports of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.orchestration.conftest import Workspace, make_workspace

SECRETS = {
    "RBR_POSTGRES_PASSWORD": "postgres-secret-7f3a1c",
    "RBR_MLFLOW_PASSWORD": "mlflow-secret-9be2d4",
    "RBR_MLFLOW_SECRET_KEY": "session-secret-51aa0e",
}


def alive(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that ended and that nobody asked for its status yet does not."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


def wait(
    until: Callable[[], Any], seconds: float = 120, tell: Callable[[], str] = lambda: ""
) -> Any:
    """What ``until`` returns once it is true; fails, with what ``tell`` says, if it never is."""
    deadline = time.monotonic() + seconds
    while True:
        found = until()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s\n{tell()}"
        time.sleep(0.1)


class Postgres:
    """A PostgreSQL server in a folder of its own, with the user ``rbr``."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("pg_ctl") or next(
            (str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))), None
        )
        if found is None:
            pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        self._bin = Path(found).resolve().parent
        self.folder = folder
        self.port = free_port()
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        secret = folder / "secret"
        secret.write_text(SECRETS["RBR_POSTGRES_PASSWORD"])
        if self._user:
            shutil.chown(secret, self._user)
        self._run("initdb", "-D", str(folder / "data"), "-U", "rbr", "-A", "scram-sha-256",
                  "--pwfile", str(secret), "-E", "UTF8", "--no-sync")  # fmt: skip
        secret.unlink()

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / name), *arguments],
            user=self._user,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off"
        log = self.folder / "server.log"
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-l", str(log), "-w", "-o", options,
                  "start")  # fmt: skip

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", mode, "-w", "stop")

    def restart(self) -> None:
        self.stop()
        self.start()

    def dump(self, database: str) -> str:
        """All of a database as text."""
        return subprocess.run(
            [str(self._bin / "pg_dump"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "rbr", database],
            env={**os.environ, "PGPASSWORD": SECRETS["RBR_POSTGRES_PASSWORD"]},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout  # fmt: skip


class Production:
    """A workspace with ``production.yaml`` on free ports."""

    def __init__(self, workspace: Workspace, postgres: Postgres) -> None:
        self.workspace = workspace
        self.root = workspace.root
        self.postgres = postgres
        self.secrets = dict(SECRETS)
        settings = yaml.safe_load((self.root / "production.yaml").read_text())
        settings["postgres"]["port"] = postgres.port
        for part, key in (("mlflow", "port"), ("dagster", "port"), ("dagster", "code_server_port")):
            settings[part][key] = free_port()
        self.settings = settings
        self.write()

    def write(self) -> None:
        (self.root / "production.yaml").write_text(yaml.safe_dump(self.settings))

    @property
    def environment(self) -> dict[str, str]:
        own = {**self.workspace.environment, **self.secrets, "OMP_NUM_THREADS": "1"}
        del own["DAGSTER_HOME"]
        return own

    def call(self, *arguments: str, timeout: int = 600) -> subprocess.CompletedProcess[str]:
        """``python -m orchestration.production ...`` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "orchestration.production", *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def python(self, code: str) -> str:
        """What a program prints that runs with production's stores."""
        done = self.call("exec", "--", sys.executable, "-c", code)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, query: str, **variables: Any) -> Any:
        """Ask Dagster's GraphQL."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.settings['dagster']['port']}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        for attempt in range(20):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    found = json.loads(answer.read())
                if found.get("data") is not None or attempt == 19:
                    return found["data"]
            except urllib.error.HTTPError as error:
                # PostgreSQL is away for the moment.
                if error.code < 500 or attempt == 19:
                    raise
            time.sleep(1)
        raise AssertionError

    def launch(self, job: str, graph_run: str = "test", assets: Sequence[str] = ()) -> str:
        """Put a run of a job, or of some of its assets, into the queue; returns its id."""
        tags = [{"key": "rbr/graph_run", "value": graph_run}]
        selector: dict[str, Any] = {
            "jobName": job,
            "repositoryName": "__repository__",
            "repositoryLocationName": "rule-based-rewards",
        }
        if assets:
            selector["assetSelection"] = [{"path": key.split("/")} for key in assets]
        found = self.ask(
            """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
                ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
            p={"selector": selector, "executionMetadata": {"tags": tags}},
        )["launchRun"]
        assert found["__typename"] == "LaunchRunSuccess", found
        return str(found["run"]["runId"])

    def runs(self) -> list[dict[str, Any]]:
        """All runs, the newest first."""
        query = "{ runsOrError { ... on Runs { results { runId rootRunId status jobName } } } }"
        return list(self.ask(query)["runsOrError"]["results"])

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """What a run's log says: type, step and message."""
        query = """query($id: ID!) { logsForRun(runId: $id, limit: 10000) { ... on EventConnection {
            events { __typename ... on MessageEvent { eventType stepKey message } } } } }"""
        return list(self.ask(query, id=run_id)["logsForRun"]["events"])

    def worker(self, run_id: str) -> psutil.Process | None:
        """The process that executes a run, while it lives."""
        for event in self.events(run_id):
            found = re.search(r"\(pid: (\d+)\)", event.get("message") or "")
            if found and event["eventType"] in ("ENGINE_EVENT", "PIPELINE_START", "RUN_START"):
                with suppress(psutil.NoSuchProcess):
                    process = psutil.Process(int(found[1]))
                    if process.status() != psutil.STATUS_ZOMBIE:
                        return process
        return None

    def finished(self, root_run: str, seconds: float = 900) -> list[dict[str, Any]]:
        """Wait until a run, or a retry of it, succeeds; returns its attempts, the newest first."""

        def attempts() -> list[dict[str, Any]]:
            return [r for r in self.runs() if root_run in (r["runId"], r["rootRunId"])]

        wait(lambda: attempts()[0]["status"] == "SUCCESS", seconds, self.logs)
        return attempts()

    def logs(self) -> str:
        files = sorted((self.root / ".prod" / "logs").glob("*.log"))
        return "\n".join(f"== {f.name}\n{f.read_text(errors='replace')[-3000:]}" for f in files)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A running server; a folder near the root, since a socket's path must be short."""
    with tempfile.TemporaryDirectory(prefix="rbr-pg-") as folder:
        Path(folder).chmod(0o755)
        own = Postgres(Path(folder))
        own.start()
        yield own
        own.stop("immediate")


@pytest.fixture(scope="module")
def settings_of_production() -> dict[str, dict[str, Any]]:
    """What a test file's ``production.yaml`` says otherwise than the shipped one."""
    return {}


@pytest.fixture(scope="module")
def production(
    root: Path,
    tmp_path_factory: pytest.TempPathFactory,
    postgres: Postgres,
    settings_of_production: dict[str, dict[str, Any]],
) -> Iterator[Production]:
    """Production, started; what is left of it is stopped at the end."""
    workspace = make_workspace(root, tmp_path_factory.mktemp("production") / "project")
    own = Production(workspace, postgres)
    for part, values in settings_of_production.items():
        own.settings[part].update(values)
    own.write()
    try:
        done = own.call("up")
        assert done.returncode == 0, done.stdout + done.stderr + own.logs()
        yield own
    finally:
        own.call("down")
