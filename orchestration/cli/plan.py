"""``rbr plan``: tokens, time, memory and store of a profile, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli import common

if TYPE_CHECKING:
    from orchestration.planning.report import Report

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
    root: common.RootOption = None,
    plan: PlanOption = None,
    measured: MeasuredOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Tokens, device hours, memory and store of a run: computed from the profile, by measured rates."""
    from orchestration.planning.report import report

    found = report(common.find_root(root), plan, measured)
    if as_json:
        common.print_json(found.as_dict())
    else:
        _show(found)


def _show(found: Report) -> None:
    from rich.filesize import decimal

    table = found.table.copy()
    table.loc["total"] = table.sum()
    time = table["busy"] / 3600 if found.devices else table["seconds"]
    digits = 2 if found.devices else 0
    common.print_table(
        ["artifact", "tokens", "operations", "device hours" if found.devices else "seconds"],
        [
            [key, f"{row.tokens:,.0f}", f"{row.operations:.2e}", f"{time[key]:,.{digits}f}"]
            for key, row in table.iterrows()
        ],
        f"{found.title}: {found.machine}",
    )
    for name, parts in found.bytes.items():
        common.print_table(
            ["of it", "size"],
            [[part, decimal(round(size))] for part, size in parts.items()],
            f"{name}: {decimal(round(sum(parts.values())))}",
        )
    for note in found.notes:
        common.console.print(f"- {note}")
