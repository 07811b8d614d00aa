"""Whether a machine can run a profile: what the profile needs, what is here, and what to change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from orchestration.planning.inputs import Device, Measured, Target, read_plan_file
from orchestration.planning.machine import Machine, answers
from orchestration.planning.memory import grader_memory, host_memory, training_memory
from orchestration.planning.report import PLANS, model_shape, store, workload
from pipeline.profile import Settings, read_settings, read_yaml
from rbr.errors import RBRError

# Free disk beside the store: DVC's cache holds each artifact again, checkpoints one training's.
COPIES = 2
REQUIRED = ("torch", "transformers", "trl", "dagster", "dvc", "mlflow")


@dataclass(frozen=True)
class Need:
    """One thing that a profile needs.

    ``change``: what to do where it is not met.
    """

    what: str
    wanted: str
    found: str
    met: bool
    change: str = ""


def needs_of(root: Path, profile: str, machine: Machine) -> list[Need]:
    """What a profile needs of a machine; a profile that cannot be read is itself the first need."""
    try:
        settings = read_settings(root, profile)[1]
        target, measured = plan_of(root, profile)
        planned = [*_memory_needs(root, settings, target, measured, machine)]
    except RBRError as error:
        return [Need("settings", "files that can be read", str(error), False, "mend the file")]
    return [*planned, *_library_needs(root, settings, machine)]


def profiles_of(root: Path) -> list[str]:
    """The names of the profiles of a project."""
    return sorted(path.stem for path in (root / "profiles").glob("*.yaml"))


def plan_of(root: Path, profile: str) -> tuple[Target | None, Measured]:
    """The machine that a profile is planned for, if it is another than the measured one, and the rates.

    Raises:
        RBRError: if a file of ``deploy/plans`` is wrong.
    """
    for path in sorted((root / PLANS).glob("*.yaml")):
        if read_yaml(path).get("profile") == profile and "device" in read_yaml(path):
            target = read_plan_file(path, Target)
            return target, read_plan_file(path.parent / target.measured, Measured)
    own = root / PLANS / f"{profile}.yaml"
    return None, read_plan_file(own if own.is_file() else root / PLANS / "laptop.yaml", Measured)


def _memory_needs(
    root: Path, settings: Settings, target: Target | None, measured: Measured, machine: Machine
) -> Iterator[Need]:
    if target is None and settings.models.policy == "tiny":
        yield Need("memory", "a tiny model's", decimal(int(machine.memory)), machine.memory > 2e9)
        return
    if target is None:
        target = _of_cpu(root, settings, measured, machine)
        parts = training_memory(settings, target)
        yield _fits("memory", sum(parts.values()), machine.memory, _smaller(parts))
    else:
        yield from _device_needs(settings, target, machine)
        parts = host_memory(settings, target)
        yield _fits("host memory", sum(parts.values()), machine.memory, _smaller(parts))
    work = workload(root, settings, measured, target)
    kept = store(work, measured, target.device.number_bytes)
    change = "free that much, or name fewer variants"
    yield _fits("free disk", COPIES * sum(kept.values()), machine.disk, change)


def _of_cpu(root: Path, settings: Settings, measured: Measured, machine: Machine) -> Target:
    """This machine without accelerators as one device."""
    policy = model_shape(root, "base_model", settings.models.policy, measured)
    return Target(
        profile=measured.profile,
        measured="",
        device=Device(name="CPU", flops=1.0, bandwidth=1.0, memory=machine.memory, number_bytes=4),
        training_devices=settings.launch.processes or 1,
        grader_devices=1,
        policy=policy,
        grader=policy,
    )


def _device_needs(settings: Settings, target: Target, machine: Machine) -> Iterator[Need]:
    has = machine.accelerators
    # On a server the grader's devices are the server's.
    own_grader = settings.grader.engine != "openai" and target.grader_devices
    wanted = max(target.training_devices, target.grader_devices if own_grader else 0)
    found = f"{len(has)}: {has[0].name}" if has else "none"
    change = "use a machine that has them, or a profile for the CPU (laptop, smoke)"
    if machine.unused:
        found += f" that torch can use; the driver shows {len(machine.unused)}: {machine.unused[0]}"
        change = (
            f"torch {machine.versions.get('torch')} is built without CUDA: install its CUDA build"
        )
    elif not has and not machine.driver:
        found += ", and no NVIDIA driver"
    each = f"{wanted} GPU" + ("s" if wanted > 1 else "")
    yield Need("devices", each, found, len(has) >= wanted, change)
    memories = {"memory of a training device": training_memory(settings, target)}
    if own_grader and settings.grader.engine == "vllm":
        memories["memory of a grader device"] = grader_memory(settings, target)
    smallest = min((device.memory for device in has), default=0.0)
    for what, parts in memories.items():
        yield _fits(what, sum(parts.values()), smallest, _smaller(parts))
    processes = settings.launch.processes or 1
    if processes != target.training_devices:
        yield Need("processes", f"launch.processes {target.training_devices}", str(processes), False,
                   "one process a training device")  # fmt: skip


def _fits(what: str, wanted: float, found: float, change: str) -> Need:
    return Need(what, decimal(round(wanted)), decimal(round(found)), wanted <= found, change)


def _smaller(parts: dict[str, float]) -> str:
    """What makes the largest part smaller."""
    part = max(parts, key=parts.__getitem__)
    if part.startswith("update"):
        advice = "lower rl.micro_batch and sft.micro_batch, or set their gradient_checkpointing"
    elif part.startswith("generation: vLLM"):
        advice = "lower rl.vllm_memory, or set rl.vllm_sleep"
    elif part.startswith("generation"):
        advice = "lower rl.prompts_per_step, or set rl.vllm"
    elif "adapters" in part:
        advice = "name a smaller models.policy"
    elif "weights" in part or part == "training processes":
        advice = "lower launch.processes, or name a smaller models.policy"
    else:
        advice = "set sft.lora and rl.lora, or name a smaller models.policy"
    return f"most is {part} ({decimal(round(parts[part]))}): {advice}"


def _library_needs(root: Path, settings: Settings, machine: Machine) -> Iterator[Need]:
    installed = machine.versions
    if settings.rl.vllm or settings.grader.engine == "vllm":
        version = installed.get("vllm")
        change = "pip install '.[vllm]', or set rl.vllm to null and another grader.engine"
        yield Need("vLLM", "installed", version or "not installed", bool(version), change)
    servers = {
        "rl.vllm_server": settings.rl.vllm_server if settings.rl.vllm == "server" else None,
        "grader.address": settings.grader.address if settings.grader.engine == "openai" else None,
    }
    for name, address in servers.items():
        if address:
            up = answers(address)
            change = f"start the server, or set {name} to where one runs"
            yield Need(name, address, "answers" if up else "nothing listens there", up, change)
    config = settings.launch.config_file
    if config:
        there = (root / config).is_file()
        yield Need("launch.config_file", config, "there" if there else "missing", there, "write it")


def common_needs(machine: Machine) -> list[Need]:
    """What every profile needs of a machine."""
    found = [
        Need(
            "git", "a repository", str(machine.git), machine.git, "git init, and commit the project"
        ),
        Need("DVC", "a folder .dvc", str(machine.dvc), machine.dvc, "dvc init"),
    ]
    for name in REQUIRED:
        version = machine.versions.get(name)
        found.append(Need(name, "installed", version or "no", bool(version), "make setup"))
    return found
