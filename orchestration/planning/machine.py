"""What a machine has: cores, memory, accelerators, disk, libraries, free ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import psutil

# What the pages of `make ui` listen on.
PORTS = {"Dagster": 3000, "MLflow": 5000}
LIBRARIES = ("torch", "transformers", "trl", "vllm", "dagster", "dvc", "mlflow")
CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Accelerator:
    """One GPU; ``memory`` in bytes."""

    name: str
    memory: float


@dataclass(frozen=True)
class Machine:
    """A machine, as this process may use it.

    Attributes:
        memory, disk: bytes: of the host, and free where the project lies.
        accelerators: those that torch can use.
        driver: NVIDIA's version, or None without one.
        unused: GPUs that the driver shows and torch cannot use.
        versions: of ``LIBRARIES``; None for what is not installed.
        git, dvc: whether the project is a repository of each.
        busy: programs of ``PORTS`` whose port something listens on.
    """

    cores: int
    memory: float
    disk: float
    accelerators: tuple[Accelerator, ...] = ()
    driver: str | None = None
    unused: tuple[str, ...] = ()
    versions: dict[str, str | None] = field(default_factory=dict)
    git: bool = True
    dvc: bool = True
    busy: tuple[str, ...] = ()


def this_machine(root: Path) -> Machine:
    """Look at this machine; nothing is started or written."""
    accelerators = _accelerators()
    driver, shown = _driver()
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        memory=_memory(),
        disk=float(shutil.disk_usage(root).free),
        accelerators=accelerators,
        driver=driver,
        unused=() if accelerators else shown,
        versions={name: _version(name) for name in LIBRARIES},
        git=_git(root),
        dvc=(root / ".dvc").is_dir(),
        busy=tuple(name for name, port in PORTS.items() if listens("127.0.0.1", port)),
    )


def listens(host: str, port: int) -> bool:
    """Whether something accepts connections there, within a second."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def answers(address: str) -> bool:
    """Whether a server listens at an http address."""
    parts = urlsplit(address)
    return listens(parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80))


def _accelerators() -> tuple[Accelerator, ...]:
    import torch

    if not torch.cuda.is_available():
        return ()
    found = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return tuple(Accelerator(each.name, float(each.total_memory)) for each in found)


def _driver() -> tuple[str | None, tuple[str, ...]]:
    """NVIDIA's driver and the names of the GPUs that it shows."""
    lines = _output("nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader")
    rows = [line.split(", ", 1) for line in lines if ", " in line]
    return (rows[0][0], tuple(name for _, name in rows)) if rows else (None, ())


def _memory() -> float:
    """The host's, or less where a container has less."""
    total = float(psutil.virtual_memory().total)
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else "max"
    return min(total, float(limit)) if limit.isdigit() else total


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(root: Path) -> bool:
    return _output("git", "-C", str(root), "rev-parse", "--is-inside-work-tree") == ["true"]


def _output(*command: str) -> list[str]:
    """The lines that a command prints; none if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []
