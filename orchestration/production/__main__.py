"""``python -m orchestration.production up|down|status|exec``: what ``make prod-...`` calls."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import typer

from orchestration.production.databases import require_databases
from orchestration.production.services import addresses, environment, problem, write_settings
from orchestration.production.settings import read_production
from orchestration.production.supervision import Supervisor
from rbr.errors import RBRError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Production in the current folder, as production.yaml describes it.",
)


@app.command()
def up() -> None:
    """Start what is not running, and wait until each service is healthy."""
    root, settings = Path.cwd(), read_production(Path.cwd())
    variables = environment(root, settings)
    supervisor = Supervisor(root / settings.state)
    require_databases(settings.postgres)
    write_settings(root, settings)
    supervisor.run(variables)
    for service, address in addresses(settings).items():
        supervisor.start(service, partial(problem, service, settings), settings.start_timeout)
        print(f"healthy  {service:<12} {address}", flush=True)


@app.command()
def down() -> None:
    """Stop all services; runs in progress continue after the next start."""
    Supervisor(Path.cwd() / read_production(Path.cwd()).state).shut_down()


@app.command()
def status() -> None:
    """Print the state of each service; exit status 1 unless all are healthy."""
    settings = read_production(Path.cwd())
    pids = Supervisor(Path.cwd() / settings.state).pids()
    healthy = True
    for service, address in addresses(settings).items():
        running = bool(pids.get(service))
        found = problem(service, settings) if running else "make prod-up starts it"
        state = "healthy" if found is None else "sick" if running else "stopped"
        healthy = healthy and found is None
        print(f"{state:<8} {service:<12} {found or address}")
    if not healthy:
        raise typer.Exit(1)


@app.command("exec")
def execute(command: list[str]) -> None:
    """Run a command with production's stores: exec -- COMMAND ..."""
    variables = environment(Path.cwd(), read_production(Path.cwd()))
    raise typer.Exit(subprocess.run(command, env=variables, check=False).returncode)


if __name__ == "__main__":
    os.umask(0o077)
    try:
        app()
    except RBRError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
