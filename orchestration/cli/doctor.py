"""``rbr doctor``: what is here, what each profile needs of it, and what to change."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli import common
from rbr.errors import RBRError

if TYPE_CHECKING:
    from orchestration.planning.doctor import Need
    from orchestration.planning.machine import Machine

ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", help="This one alone; the exit status is 1 if it cannot run here."),
]


def doctor(
    root: common.RootOption = None,
    profile: ProfileOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """What this machine has, which profiles it can run, and what to change for the others."""
    from orchestration.planning.doctor import common_needs, needs_of, profiles_of
    from orchestration.planning.machine import this_machine

    folder = common.find_root(root)
    known = profiles_of(folder)
    if profile and profile not in known:
        raise RBRError(f"--profile '{profile}' is not one of {', '.join(known)}")
    machine = this_machine(folder)
    shared = common_needs(machine)
    needs = {name: needs_of(folder, name, machine) for name in ([profile] if profile else known)}
    if as_json:
        rows = {name: [asdict(need) for need in own] for name, own in needs.items()}
        common.print_json(
            {
                "machine": asdict(machine),
                "common": [asdict(need) for need in shared],
                "profiles": rows,
            }
        )
    else:
        _show_machine(machine)
        for name, own in needs.items():
            _show_profile(name, [*shared, *own])
    if profile and not all(need.met for need in [*shared, *needs[profile]]):
        raise typer.Exit(1)


def _show_machine(machine: Machine) -> None:
    from rich.filesize import decimal

    gpus = ", ".join(f"{gpu.name} ({decimal(int(gpu.memory))})" for gpu in machine.accelerators)
    versions = ", ".join(f"{name} {version or '-'}" for name, version in machine.versions.items())
    rows = [
        ("cores", str(machine.cores)),
        ("memory", decimal(int(machine.memory))),
        ("free disk", decimal(int(machine.disk))),
        ("GPUs", gpus or "none that torch can use"),
        ("NVIDIA driver", machine.driver or "none"),
        ("libraries", versions),
        ("ports in use", ", ".join(machine.busy) or "none of those that `make ui` listens on"),
    ]
    common.print_table(["here", ""], rows, "this machine", left=True)


def _show_profile(name: str, needs: list[Need]) -> None:
    verdict = "can run here" if all(need.met for need in needs) else "cannot run here"
    rows = [
        (
            need.what,
            need.wanted,
            need.found,
            "yes" if need.met else "NO",
            need.change * (not need.met),
        )
        for need in needs
    ]
    columns = ["need", "wanted", "here", "met", "change"]
    common.print_table(columns, rows, f"{name}: {verdict}", left=True)
