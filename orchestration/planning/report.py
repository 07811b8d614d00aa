"""A plan, as the command shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rbr.errors import RBRError
from orchestration.planning.amounts import amounts
from orchestration.planning.estimate import Line, lines, memory, store
from orchestration.planning.measured import Measured, read_measured, read_wanted
from orchestration.planning.work import Count, Models
from orchestration.planning.workspace import EMBEDDED, shapes
from pipeline.profile import VARIANTS, read_settings
from rbr.steps import STEPS, Context

PLANS = Path("deploy") / "plans"


@dataclass(frozen=True)
class Report:
    """Attributes:
    lines: one a step, in the graph's order; ``total`` sums them.
    bytes: memory of each kind of device, and the store, by part.
    devices: accelerators that are planned for; 0 on the measured machine.
    """

    title: str
    machine: str
    lines: list[Line]
    bytes: dict[str, dict[str, float]]
    notes: list[str]
    devices: int

    @property
    def total(self) -> Line:
        """All lines together."""
        own = self.lines
        return Line(
            "all",
            sum(line.tokens for line in own),
            sum(line.operations for line in own),
            sum(line.busy for line in own),
            sum(line.overhead for line in own),
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "machine": self.machine,
            "steps": [{**asdict(line), "seconds": line.seconds} for line in self.lines],
            "total": {**asdict(self.total), "seconds": self.total.seconds},
            "bytes": self.bytes,
            "notes": self.notes,
        }


def stages() -> list[str]:
    """Steps (of each variant, where there are), in the graph's order."""
    return [
        f"{name}@{variant}" if variant else name
        for name, step in STEPS.items()
        for variant in (VARIANTS if step.variants else (None,))
    ]


def report(root: Path, plan: Path | None = None, measured: Path | None = None) -> Report:
    """Plan a run of the workspace's profile, or what the file ``plan`` asks for.

    Args:
        measured: by default the file of the profile's name in ``deploy/plans``, or the one that
            ``plan`` names.

    Raises:
        RBRError: if a file is not there or wrong, naming it.
    """
    if plan is None:
        profile, settings = read_settings(root)
        rates = _measured(measured or root / PLANS / f"{profile}.yaml")
        context = Context(root, settings)
        models = shapes(context)
        own = amounts(context)
        parts = Count(settings, own, rates.lengths, models, rates.attempts).steps()
        notes = [_told(rates)]
        if rates.profile != profile:
            notes.append(f"these rates were measured under the profile '{rates.profile}'")
        found = lines(parts, rates, None, models, stages())
        sizes = {"store": store(settings, own, rates, models.policy, 4)}
        return Report(f"profile {profile}", rates.machine, found, sizes, notes, 0)
    wanted = read_wanted(plan)
    settings = read_settings(root, wanted.profile)[1]
    rates = _measured(measured or plan.parent / wanted.measured)
    own = amounts(Context(root, settings)).with_(
        wanted.prompts, wanted.completions_per_prompt, wanted.episodes
    )
    models = Models(wanted.policy, wanted.grader, EMBEDDED["minilm"])
    parts = Count(settings, own, rates.lengths, models, rates.attempts).steps()
    found = lines(parts, rates, wanted, models, stages())
    sizes = {f"memory of {m.what}": m.parts for m in memory(settings, wanted)}
    sizes["store"] = store(settings, own, rates, wanted.policy, wanted.device.number_bytes)
    notes = [
        _told(rates),
        "hours: each kind of work at the share of the device's peak that the measured machine reached of"
        " its own; decoding no faster than its memory gives the weights. A measurement on the device"
        " itself (benchmarks/rates.py) takes the place of both",
    ]
    devices = wanted.training_devices + wanted.grader_devices
    title = f"profile {wanted.profile}, {own.comparisons:,} comparisons, {own.episodes:,} episodes"
    return Report(title, wanted.device.name, found, sizes, notes, devices)


def _measured(path: Path) -> Measured:
    if not path.is_file():
        raise RBRError("no measured rates: benchmarks/rates.py writes them", path)
    return read_measured(path)


def _told(rates: Measured) -> str:
    return f"rates and lengths were measured on {rates.date}: {rates.machine}"
