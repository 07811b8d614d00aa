"""``python -m orchestration.production up|down|status|exec``: what ``make prod-...`` calls."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from orchestration.production.databases import report_lost_workers, require_databases
from orchestration.production.processes import Processes
from orchestration.production.services import (
    Service,
    environment,
    services,
    state_folder,
    write_settings,
)
from orchestration.production.settings import Production, read_production
from rbr.errors import RBRError


def up(root: Path, settings: Production) -> None:
    """Start what does not run, and wait until each service is healthy.

    Raises:
        RBRError: a secret is missing, PostgreSQL does not answer, or a service does not get healthy;
            the log's last lines are in the message.
    """
    own = environment(root, settings)
    require_databases(settings.postgres)
    write_settings(root, settings)
    processes = Processes(state_folder(root, settings))
    for service in services(root, settings):
        if not processes.alive(service.name):
            processes.stop(service.name)  # what a dead one left of its session
            if service.name == "code server":
                report_lost_workers(own)
            processes.start(service.name, service.command, own, root)
        _wait(service, processes, settings.start_timeout)
        print(f"healthy  {service.name:<12} {service.address}", flush=True)


def _wait(service: Service, processes: Processes, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        if not processes.alive(service.name):
            wrong: str | None = "ended"
        else:
            wrong = service.healthy()
            if wrong is None:
                return
        if wrong == "ended" or time.monotonic() > deadline:
            log = processes.log(service.name)
            last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
            raise RBRError(f"{service.name} {wrong}: {' / '.join(last)}", log)
        time.sleep(0.5)


def down(root: Path, settings: Production) -> None:
    """Stop all; runs in progress are reported as failed, and go on, when it is started again."""
    processes = Processes(state_folder(root, settings))
    # The daemon first, so that it starts nothing while the others go.
    for name in reversed(processes.names()):
        processes.stop(name)
        print(f"stopped  {name}", flush=True)


def status(root: Path, settings: Production) -> bool:
    """Print each service's state; returns whether all are healthy."""
    processes = Processes(state_folder(root, settings))
    fine = True
    for service in services(root, settings):
        if service.name not in processes.names():
            word, detail = "stopped", "make prod-up starts it"
        elif not processes.alive(service.name):
            word, detail = (
                "dead",
                f"see {processes.log(service.name)}; make prod-up starts it again",
            )
        else:
            wrong = service.healthy()
            word, detail = ("healthy", service.address) if wrong is None else ("sick", wrong)
        fine = fine and word == "healthy"
        print(f"{word:<8} {service.name:<12} {detail}")
    return fine


def main(arguments: list[str] | None = None) -> int:
    """Do one of the four in the current folder; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.production", description=__doc__)
    does = parser.add_subparsers(dest="does", required=True)
    does.add_parser("up", help="start what does not run, wait until all are healthy")
    does.add_parser("down", help="stop all")
    does.add_parser("status", help="say how each service is; exit status 1 unless all are healthy")
    run = does.add_parser("exec", help="run a command with production's stores")
    run.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    root = Path.cwd()
    try:
        settings = read_production(root)
        if options.does == "up":
            up(root, settings)
        elif options.does == "down":
            down(root, settings)
        elif options.does == "status":
            return 0 if status(root, settings) else 1
        else:
            command = options.command[1:] if options.command[:1] == ["--"] else options.command
            own = environment(root, settings)
            if not command:
                parser.error("exec: which command?")
            return subprocess.run(command, env=own, check=False).returncode
    except RBRError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
