"""``python -m orchestration.ui``: the Dagster and MLflow UIs on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import dagster as dg
import psutil

from orchestration.dagster_home import use_home
from orchestration.leftovers import kill_marked
from orchestration.lineage.registry import tracking_address
from orchestration.lineage.tracking import artifacts_location
from orchestration.links import HOST, PAGES, server_settings, servers_urls
from orchestration.orphaned_runs import report_orphaned_runs
from orchestration.root import ROOT, find_root
from rbr.errors import RBRError

GRACE = 20.0  # seconds for a server to end by itself


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there."""
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True


def problem_of_ports(ports: Sequence[tuple[str, str, int]]) -> str | None:
    """The first port that is taken, in one line with a free one; ``ports``: option, host, port."""
    for option, host, port in ports:
        if not is_free(host, port):
            wanted = {number for _, _, number in ports}
            others = (number for number in range(port + 1, 65536) if number not in wanted)
            free = next((number for number in others if is_free(host, number)), None)
            return f"port {port} is taken: free it, or add `{option} {free}`"
    return None


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def run_servers(commands: Sequence[Sequence[str]], environment: dict[str, str]) -> int:
    """Run servers until one ends or a signal comes; no child is left then.

    Returns:
        The exit status of the server that ended, 0 after a signal.
    """
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signals.append(signal.SIGHUP)
    for number in signals:
        signal.signal(number, _interrupt)
    mark = {"RBR_UI": uuid.uuid4().hex}
    servers: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            servers.append(
                subprocess.Popen(command, env={**environment, **mark}, start_new_session=True)
            )
        while all(server.poll() is None for server in servers):
            time.sleep(0.5)
        return max(abs(server.returncode or 0) for server in servers)
    except KeyboardInterrupt:
        return 0
    finally:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        running = [psutil.Process(server.pid) for server in servers if server.poll() is None]
        children = [child for server in running for child in server.children(recursive=True)]
        for server in running:
            os.killpg(server.pid, signal.SIGINT)
        psutil.wait_procs([*running, *children], timeout=GRACE)
        kill_marked(**mark)


def main(arguments: list[str] | None = None) -> int:
    """Run both servers on loopback; returns the exit status of the one that ended first."""
    try:
        root = find_root()
        mlflow = server_settings(root)
    except RBRError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    parser = argparse.ArgumentParser(prog="python -m orchestration.ui", description=__doc__)
    parser.add_argument("--port", type=int, default=3000, help="Dagster's (%(default)s)")
    parser.add_argument(
        "--mlflow-port", type=int, default=mlflow["port"], help="MLflow's (%(default)s)"
    )
    parser.add_argument(
        "--pages-port",
        type=int,
        default=mlflow["pages_port"],
        help="that of the rule page, data docs and reports (%(default)s)",
    )
    options = parser.parse_args(arguments)
    port, mlflow_port = str(options.port), str(options.mlflow_port)
    problem = problem_of_ports(
        [
            ("--port", "127.0.0.1", options.port),
            ("--mlflow-port", mlflow["host"], options.mlflow_port),
            ("--pages-port", HOST, options.pages_port),
        ]
    )
    if problem:
        print(f"error: {problem} to `python -m orchestration.ui`", file=sys.stderr)
        return 1
    use_home(root)
    with dg.DagsterInstance.get() as instance:
        report_orphaned_runs(instance)
    environment = {
        **os.environ,
        ROOT: str(root),
        **servers_urls(root, port, mlflow_port, str(options.pages_port)),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Background workers for tracing, which nothing here uses.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    python = [sys.executable, "-m"]
    commands = {
        f"Dagster  http://127.0.0.1:{port}": [
            *python, "dagster", "dev", "-h", "127.0.0.1", "-p", port,
            "-m", "orchestration.definitions",
        ],
        f"MLflow   http://{mlflow['host']}:{mlflow_port}": [
            *python, "mlflow", "server", "--host", mlflow["host"], "--port", mlflow_port,
            "--workers", str(mlflow["workers"]),
            "--backend-store-uri", tracking_address(root),
            "--artifacts-destination", artifacts_location(root),
        ],
    }  # fmt: skip
    commands[f"Rules    {environment[PAGES]}"] = [
        *python, "orchestration.pages", "--port", str(options.pages_port),
    ]  # fmt: skip
    print("\n".join(commands), "Ctrl-C stops all", sep="\n", flush=True)
    return run_servers(list(commands.values()), environment)


if __name__ == "__main__":
    sys.exit(main())
