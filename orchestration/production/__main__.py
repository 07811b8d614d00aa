"""``python -m orchestration.production up|down|status|exec``: what ``make prod-...`` calls."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from orchestration.production.databases import require_databases
from orchestration.production.services import environment, services, write_settings
from orchestration.production.settings import Production, read_production
from orchestration.production.supervision import Supervisor
from rbr.errors import RBRError

HELP = """\
up       start what is not running, wait until all services are healthy
down     stop all; runs in progress continue after the next start
status   how each service is; exit status 1 unless all are healthy
exec     run a command with production's stores: exec -- COMMAND ...
"""


def up(root: Path, settings: Production) -> None:
    """Start what is not running, and wait until each service is healthy.

    Raises:
        RBRError: a secret is missing, PostgreSQL does not answer, or a service does not get healthy;
            the last lines of its log are in the message.
    """
    variables = environment(root, settings)
    supervisor = Supervisor(root / settings.state)
    require_databases(settings.postgres)
    write_settings(root, settings)
    supervisor.run(variables)
    for service in services(settings):
        supervisor.start(service.name)
        supervisor.wait(service.name, partial(service.problem, settings), settings.start_timeout)
        print(f"healthy  {service.name:<12} {service.address}", flush=True)


def status(root: Path, settings: Production) -> bool:
    """Print the state of each service; returns whether all are healthy."""
    pids = Supervisor(root / settings.state).pids()
    healthy = True
    for service in services(settings):
        running = bool(pids.get(service.name))
        problem = service.problem(settings) if running else "make prod-up starts it"
        state = "healthy" if problem is None else "sick" if running else "stopped"
        healthy = healthy and problem is None
        print(f"{state:<8} {service.name:<12} {problem or service.address}")
    return healthy


def main(arguments: list[str] | None = None) -> int:
    """Do one of the four in the current folder; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestration.production",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("up", "down", "status", "exec"))
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if bool(command) != (options.action == "exec"):
        parser.error("exec takes a command, the others take none")
    root = Path.cwd()
    try:
        settings = read_production(root)
        if options.action == "up":
            up(root, settings)
        elif options.action == "down":
            Supervisor(root / settings.state).shut_down()
        elif options.action == "status":
            return 0 if status(root, settings) else 1
        else:
            variables = environment(root, settings)
            return subprocess.run(command, env=variables, check=False).returncode
    except RBRError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
