"""``rbr plan``: tokens, time, memory and store of a profile, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from orchestration.cli.common import JsonOption, RootOption, console, find_root, print_json
from orchestration.planning.report import Report, report

PlanOption = Annotated[
    Path | None,
    typer.Option("--plan", help="Another machine or amount: a file of deploy/plans."),
]
MeasuredOption = Annotated[
    Path | None,
    typer.Option(
        "--measured", help="What benchmarks/rates.py wrote; default: deploy/plans/<profile>.yaml."
    ),
]


def plan(
    root: RootOption = None,
    plan: PlanOption = None,
    measured: MeasuredOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tokens, device hours, memory and store of a run: computed from the profile, by measured rates."""
    found = report(find_root(root), plan, measured)
    if as_json:
        print_json(found.as_dict())
        return
    _show(found)


def _show(found: Report) -> None:
    table = Table(title=f"{found.title}: {found.machine}")
    table.add_column("step")
    for name in ("tokens", "operations", "device hours" if found.devices else "seconds"):
        table.add_column(name, justify="right")
    for line in [*found.lines, found.total]:
        time = f"{line.busy / 3600:,.2f}" if found.devices else f"{line.seconds:,.0f}"
        table.add_row(line.step, f"{line.tokens:,.0f}", f"{line.operations:.2e}", time)
    console.print(table)
    for name, parts in found.bytes.items():
        own = Table(title=f"{name}: {_size(sum(parts.values()))}")
        own.add_column("of it")
        own.add_column("size", justify="right")
        for part, size in parts.items():
            own.add_row(part, _size(size))
        console.print(own)
    for note in found.notes:
        console.print(f"- {note}")


def _size(number: float) -> str:
    value: Any = number
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:,.1f} {unit}"
        value /= 1000
    return f"{number:.0f} B"
