"""A plan, as the command shows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from assets import graph_of
from orchestration.planning.inputs import Measured, Shape, Target, read_plan_file
from orchestration.planning.memory import FLOAT32, grader_memory, host_memory, training_memory
from orchestration.planning.rows import RowCounts, count_rows
from orchestration.planning.work import SERVED, Workload, seconds
from pipeline.profile import Settings, read_settings
from pipeline.variants import VARIANTS
from rbr.errors import RBRError
from rbr.files import read_json
from rbr.models.chat import Usage

PLANS = Path("deploy") / "plans"
ASSUMPTION = (
    "hours: each kind of work reaches the share of the device's peak that it reached on the measured"
    " machine, and decoding is no faster than the device's memory delivers the weights. Rates measured"
    " on the device itself (benchmarks/rates.py) replace both"
)


@dataclass(frozen=True)
class Report:
    """A plan.

    Attributes:
        table: a row per artifact, in the graph's order: ``tokens``, of them ``served`` ones of chat servers,
            ``operations``, ``busy`` device seconds, ``overhead`` in seconds, and ``seconds``, the sum of
            the two.
        bytes: memory of each kind of device, and the store, by part.
        devices: accelerators that are planned for; 0 on the measured machine.
    """

    title: str
    machine: str
    table: pd.DataFrame
    bytes: dict[str, dict[str, float]]
    notes: list[str]
    devices: int

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON-like values."""
        artifacts = self.table.reset_index().to_dict("records")
        return {**asdict(self), "table": artifacts, "total": self.table.sum().to_dict()}


def report(root: Path, target: Path | None = None, measured: Path | None = None) -> Report:
    """Plan a run of the workspace's profile, or of the machine and amounts in the file ``target``.

    Args:
        measured: file of rates; by default the one that the target names, or that of the profile's
            name in ``deploy/plans``.

    Raises:
        RBRError: if a file is missing or wrong, naming it.
    """
    wanted = read_plan_file(target, Target) if target else None
    profile, settings = read_settings(root, wanted.profile if wanted else None)
    default = root / PLANS / f"{profile}.yaml"
    if target and wanted:
        default = target.parent / wanted.measured
    rates = read_plan_file(measured or default, Measured)
    work, title = workload(root, settings, rates, wanted), f"profile {profile}"
    notes = [f"rates and lengths were measured on {rates.date}: {rates.machine}"]
    table = work_table(work, rates, wanted)
    notes += served(work, table["served"])
    if wanted is None:
        if rates.profile != profile:
            notes.append(f"these rates were measured under the profile '{rates.profile}'")
        sizes = {"store": store(work, rates, 4)}
        return Report(title, rates.machine, table, sizes, notes, 0)
    title += f", {work.rows.comparisons:,} comparisons, {work.rows.episodes:,} episodes"
    sizes = {**memory(settings, wanted), "store": store(work, rates, wanted.device.number_bytes)}
    devices = wanted.training_devices + wanted.grader_devices
    return Report(title, wanted.device.name, table, sizes, [*notes, ASSUMPTION], devices)


def workload(
    root: Path, settings: Settings, measured: Measured, target: Target | None = None
) -> Workload:
    """The work of a profile, or of the amounts and models of a target."""
    rows = count_rows(root, settings)
    judge = model_shape(root, "judge_model", settings.models.judge, measured)
    if target:
        rows, policy, grader = scaled(rows, target), target.policy, target.grader
    else:
        policy = grader = model_shape(root, "base_model", settings.models.policy, measured)
    return Workload(
        settings, rows, measured.lengths, policy, grader, judge, measured.attempts, target is None
    )


def work_table(workload: Workload, measured: Measured, target: Target | None) -> pd.DataFrame:
    """The rows of ``Report.table``; an artifact without counted work has its overhead."""
    works = list(workload.works())
    table = pd.DataFrame([(work.artifact, work.tokens, work.operations) for work in works])
    table.columns = pd.Index(["artifact", "tokens", "operations"])
    table["served"] = [work.tokens * (work.rate == SERVED) for work in works]
    table["busy"] = [seconds(work, measured, target) for work in works]
    artifacts, overheads = graph_of(workload.settings), measured.overheads
    table = table.groupby("artifact").sum().reindex(list(artifacts))
    table["overhead"] = overheads.artifact + overheads.load * table["tokens"].notna()
    trained = [artifact.pool == "training" for artifact in artifacts.values()]
    table.loc[trained, "overhead"] += overheads.launch
    table = table.fillna(0.0)
    return table.assign(seconds=table["busy"] + table["overhead"])


def served(work: Workload, tokens: pd.Series) -> list[str]:
    """What chat models take on servers: of comparisons, and a grader and a judge that write verdicts.

    Args:
        tokens: by artifact.
    """
    settings, notes = work.settings, []
    chat = settings.comparisons.chat
    if chat:
        samples = work.rows.requests * work.attempts
        read, written = samples * work.lengths.chat_request, samples * work.lengths.generated
        text = f"comparisons by {chat.served_name}: {samples:,.0f} requests, {read + written:,.0f} tokens"
        cost = chat.cost(Usage(prompt=round(read), completion=round(written)))
        text += f", at a cost of {cost:,.2f}" if cost is not None else ""
        notes.append(f"{text} (comparisons.chat)")
    for role, options in (("grader", settings.grader), ("judge", settings.judge)):
        if options.engine == "chat":
            requests, limit = work.requests_of(options.chat), options.chat.max_tokens
            notes.append(
                f"the {role} asks {requests} times about an answer and writes at most {limit} tokens a"
                " proposition beside those counted, and its reasoning"
            )
    if tokens.sum():
        notes.append(f"{tokens.sum():,.0f} of the tokens are servers', whose time is left out")
    return notes


def scaled(rows: RowCounts, target: Target) -> RowCounts:
    """The rows of a profile, with the comparisons and episodes that a target names."""
    if target.prompts:
        comparisons = target.prompts * target.completions_per_prompt
        # Of rules without recipes all are written on request.
        whole = rows.comparisons or rows.requests
        requests = round(rows.requests * comparisons / whole) if whole else 0
        comparisons *= bool(rows.comparisons)
        rows = replace(rows, comparisons=comparisons, requests=requests)
    return replace(rows, episodes=target.episodes or rows.episodes)


def model_shape(root: Path, artifact: str, name: str, measured: Measured) -> Shape:
    """The shape of a model as it is materialized, or else as it was when rates were measured.

    Raises:
        RBRError: if it is neither.
    """
    config = root / "models" / artifact / "config.json"
    if config.is_file():
        return Shape.model_validate(read_json(config))
    if name not in measured.models:
        hint = f"materialize {artifact}, or pass a plan that states it (--plan)"
        raise RBRError(f"the shape of model '{name}' is not known: {hint}", config)
    return measured.models[name]


def memory(settings: Settings, target: Target) -> dict[str, dict[str, float]]:
    """Bytes on one training device, on the host, and on one grader device."""
    training, grader = target.training_devices, target.grader_devices
    return {
        f"memory of training, each of {training}": training_memory(settings, target),
        "memory of the host, in training": host_memory(settings, target),
        f"memory of grader, each of {grader}": grader_memory(settings, target),
    }


def store(work: Workload, measured: Measured, number_bytes: int) -> dict[str, float]:
    """Bytes of the artifacts and of the grade store after one run, without DVC's second copies."""
    settings, rows, policy = work.settings, work.rows, work.policy
    graded = rows.comparisons + rows.requests * measured.attempts
    grades = (graded + rows.gold["heldout"]) * rows.propositions
    # A model that is trained whole is saved in 32 bits.
    saved, scored = (
        number_bytes if options.lora else FLOAT32
        for options in (settings.rl, settings.reward_model)
    )
    policies = (number_bytes + 2 * len(settings.variants) * saved) * policy.parameters
    reward_models = len({VARIANTS[name].reward_model for name in settings.variants})
    reward_model = policy.layers(settings.reward_model.layers) + policy.head
    return {
        "policies (base, SFT and PPO of each variant)": policies,
        "reward models": reward_models * reward_model * scored,
        "comparisons and their features": graded * measured.row_bytes,
        "grade store": grades * measured.grade_bytes,
    }
