"""The servers of ``make ui`` over a workspace, as a team leaves them running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psutil

from tests.orchestration.conftest import Workspace
from tests.servers import free_port

PATIENCE = 600.0
SCREENSHOTS = Path(__file__).resolve().parents[2] / ".cache" / "screenshots"


def wait_for(what: str, holds: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: naming what was waited for.
    """
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience:.0f} s for {what}")
        time.sleep(0.5)


def shoot(page: Any, name: str) -> None:
    """Keep a picture of a page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SCREENSHOTS / f"{name}.png"))


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


@dataclass
class Servers:
    """Running servers of one workspace."""

    workspace: Workspace
    dagster: str
    mlflow: str
    pages: str
    process: subprocess.Popen[bytes]

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(str(self.workspace.root / ".dagster")) as own:
            yield own

    def switch_on(self, sensor: str) -> None:
        done = self.workspace.run(
            "-m", "dagster", "sensor", "start", sensor, "-m", "orchestration.definitions"
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def memory(self) -> dict[str, float]:
        """Resident MiB of the daemon, the web server and the code servers; runs are left out."""
        found: dict[str, float] = {}
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                command = " ".join(process.cmdline())
                size = process.memory_info().rss / 2**20
            except psutil.Error:
                continue
            for name, mark in (
                ("daemon", "dagster._daemon"),
                ("webserver", "dagster_webserver"),
                ("code", "dagster api grpc"),
            ):
                if mark in command:
                    found[name] = found.get(name, 0.0) + size
        return found


def restored(instance: dg.DagsterInstance, run_id: str) -> dict[str, bool]:
    """The artifacts that a run materialized: was each restored, or made?"""
    records = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
    ).records
    events = [record.event_log_entry.asset_materialization for record in records]
    return {event.asset_key.to_user_string(): event.metadata["reused"].value for event in events}


@contextmanager
def serving(workspace: Workspace) -> Iterator[Servers]:
    """Start what ``make ui`` starts, on ports of the OS's choice; stopped at the end."""
    dagster, mlflow, pages = free_port(), free_port(), free_port()
    settings = workspace.root / "mlflow" / "server.yaml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(f"host: 127.0.0.1\nport: {mlflow}\npages_port: {pages}\nworkers: 1\n")
    with (workspace.root / "servers.out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration.ui", "--port", str(dagster)],
            cwd=workspace.root,
            env=workspace.environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    addresses = [f"http://127.0.0.1:{port}" for port in (dagster, mlflow, pages)]
    own = Servers(workspace, *addresses, process)
    try:
        for url in (f"{own.dagster}/server_info", f"{own.mlflow}/health", f"{own.pages}/health"):
            wait_for(url, lambda url=url: answers(url) or process.poll() is not None)
            assert process.poll() is None, (workspace.root / "servers.out").read_text()[-3000:]
        yield own
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        for child in psutil.wait_procs(children, timeout=30)[1]:
            child.kill()
