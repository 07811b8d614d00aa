"""``python -m orchestration.ui``: the Dagster and MLflow UIs on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import yaml

from orchestration.home import use_home
from orchestration.lineage.tracking import artifacts_location
from orchestration.lost import report_lost_runs
from rbr.registry import tracking_address


def main(arguments: list[str] | None = None) -> int:
    """Run both servers on loopback; returns the exit status of the one that ended first."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.ui", description=__doc__)
    parser.add_argument("--dagster-port", type=int, default=3000)
    options = parser.parse_args(arguments)
    root = Path.cwd()
    use_home(root)
    with dg.DagsterInstance.get() as instance:
        report_lost_runs(instance)
    mlflow = yaml.safe_load((root / "mlflow" / "server.yaml").read_text())
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Background workers for tracing, which nothing here uses.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    python = [sys.executable, "-m"]
    commands = {
        f"Dagster  http://127.0.0.1:{options.dagster_port}": [
            *python, "dagster", "dev", "-h", "127.0.0.1", "-p", str(options.dagster_port),
            "-m", "orchestration.definitions",
        ],
        f"MLflow   http://{mlflow['host']}:{mlflow['port']}": [
            *python, "mlflow", "server", "--host", mlflow["host"], "--port", str(mlflow["port"]),
            "--workers", str(mlflow["workers"]),
            "--backend-store-uri", tracking_address(root),
            "--artifacts-destination", artifacts_location(root),
        ],
    }  # fmt: skip
    print("\n".join(commands), "Ctrl-C stops both", sep="\n", flush=True)
    running = [
        subprocess.Popen(command, env=environment, start_new_session=True)
        for command in commands.values()
    ]
    try:
        while all(server.poll() is None for server in running):
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    for server in running:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGINT)
    return max(server.wait() for server in running)


if __name__ == "__main__":
    sys.exit(main())
