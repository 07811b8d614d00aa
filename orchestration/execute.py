"""Make one artifact: what both doors, Dagster and ``dvc repro``, do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestration import gates
from orchestration.gates.run import store, stored
from orchestration.gates.suites import Champion, predecessor
from orchestration.lineage.tracking import StepRun, Tracking
from orchestration.lineage.versions import Versions, address
from orchestration.notify import notify
from orchestration.watch import made_rules
from rbr import registry
from rbr.errors import GateError, RBRError
from rbr.evaluation.paired import compare
from rbr.evaluation.safety import as_judged
from rbr.files import iter_json_lines, read_json, unwritable
from rbr.settings import VARIANTS, Section, Settings, Variant, read_settings
from rbr.steps import STEPS, Context, run_step


@dataclass(frozen=True)
class Outcome:
    """An artifact made or given back: its metrics, gate, data version and MLflow run."""

    folder: Path
    metrics: dict[str, float]
    gate: gates.Gate | None
    data_version: str
    reused: bool
    run_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Workspace:
    """A root with its profile, DVC and MLflow.

    Attributes:
        gates_block: whether an artifact whose gate did not pass is kept out of DVC. Not in an ablation,
            which makes things worse on purpose; they stay out of the run cache, which others use.
    """

    root: Path
    profile: str
    settings: Settings
    versions: Versions
    tracking: Tracking
    gates_block: bool = True

    @classmethod
    def open(cls, root: Path, say: Callable[[str], None] = print) -> Workspace:
        """Read the settings that ``params.yaml`` names.

        Args:
            say: told what DVC waits for.

        Raises:
            RBRError: naming the settings file and key at fault.
        """
        profile, settings = read_settings(root)
        return cls(root, profile, settings, Versions(root, say), Tracking(root))


def needed_stages(name: str, variant: str | None) -> list[str]:
    """DVC stages that must stand before this one."""
    stages = []
    for need in STEPS[name].needs_of(variant):
        if not STEPS[need].variants:
            stages.append(need)
        elif STEPS[name].variants:
            stages.append(address(need, variant))
        else:
            stages += [address(need, own) for own in VARIANTS]
    return stages


def reuse(workspace: Workspace, name: str, variant: Variant | None) -> Outcome | None:
    """The artifact, if it was made before from the same inputs and its gate passed."""
    stage = address(name, variant)
    version = workspace.versions.restore(stage)
    if version is None:
        return None
    context = Context(workspace.root, workspace.settings, variant)
    folder = context.path(name, variant)
    gate = None
    if STEPS[name].gate:
        key = gate_key(workspace, version)
        gate = stored(workspace.root, stage, key)
        if gate is None:
            gate = gates.evaluate(context, name)
            store(workspace.root, stage, key, gate)
    return Outcome(folder, read_json(folder / "metrics.json"), gate, version, reused=True)


def gate_key(workspace: Workspace, version: str) -> str:
    """What a gate's outcome depends on: the data, the thresholds, and the gates' code."""
    thresholds = json.dumps(workspace.settings.gates.model_dump(), sort_keys=True)
    return f"{version} {thresholds} {gates.code_digest()}"


@contextmanager
def refused_writes_told(name: str, root: Path) -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written, wherever it is met, into one line."""
    try:
        yield
    except RBRError:
        raise
    except Exception as error:
        reason = unwritable(error)
        if reason is None:
            raise
        where = getattr(error, "filename", None) or root
        raise RBRError(
            f"cannot write for '{name}' ({reason}): free the space or grant the permission; what was"
            " there before is untouched",
            Path(str(where)),
        ) from error


def make(
    workspace: Workspace,
    name: str,
    variant: Variant | None,
    graph_run: str,
    say: Callable[[str], None],
    commit: bool,
) -> Outcome:
    """Run a step, its gate, and record both.

    Args:
        graph_run: names the MLflow parent run.
        commit: record it in DVC (``dvc repro`` does that by itself).

    Raises:
        InputsChangedError: if what it reads was edited meanwhile; it is not recorded then.
        RBRError: for bad input, a full disk, or an MLflow server that stays away. A gate that does not
            pass raises nothing: see ``Outcome.gate``.
    """
    with refused_writes_told(name, workspace.root):
        stage = address(name, variant)
        settings = workspace.settings
        parameters: dict[str, Any] = {"seed": settings.seed}
        for section in STEPS[name].settings:
            own = getattr(settings, section)
            if isinstance(own, Section):
                parameters |= {f"{section}.{key}": value for key, value in own.model_dump().items()}
            else:
                parameters[section] = own
        inputs = workspace.versions.inputs(stage) if commit else {}
        with workspace.tracking.step(
            name, variant, graph_run, workspace.profile, parameters, say
        ) as run:
            context = Context(workspace.root, settings, variant, run)
            metrics = run_step(name, context)
            run.metrics(metrics)
            run.files(context.path(name, variant))
            gate = _gate(workspace, context, name) if STEPS[name].gate else None
            passed = gate is None or gate.passed
            run.tags({"gate": "none" if gate is None else "passed" if passed else "failed"})
            if gate and not passed and workspace.gates_block:
                told = f"the gate of {stage} did not pass: {'; '.join(gate.failures)}"
                notify("gate_failed", told, {"artifact": stage, "run": run.run_id}, say)
            if gate and gate.rows:
                run.table("gate", gate.rows)
            if commit and (passed or not workspace.gates_block):
                workspace.versions.commit(stage, inputs, share=passed)
            hashes = workspace.versions.hashes(stage)
            tags = {f"dvc.{key}": value for key, value in hashes.items()}
            run.tags({**tags, "rules.digest": rules_digest(workspace.root)})
            version = workspace.versions.data_version(stage)
            if gate:
                store(workspace.root, stage, gate_key(workspace, version), gate)
            if name == "model_release" and passed:
                _release(workspace, context, run, metrics, graph_run)
        return Outcome(context.path(name, variant), metrics, gate, version, False, run.run_id, tags)


def _gate(workspace: Workspace, context: Context, name: str) -> gates.Gate:
    extra = []
    if name == "safety_eval" and context.variant == "rbr" and workspace.gates_block:
        former = _champion(workspace, context)
        if former:
            extra.append(predecessor(context, former))
    return gates.evaluate(context, name, extra)


def _champion(workspace: Workspace, context: Context) -> Champion | None:
    """The profile's champion, and the policy's F1* beside its own."""
    client = workspace.tracking.client
    version = registry.champion(client, workspace.profile)
    if version is None:
        return None
    own = [row for _, row in iter_json_lines(context.path("safety_eval", "rbr") / "ppo.jsonl")]
    former = registry.judged_rows(client, version)
    asked = [[row["prompt_id"] for row in rows] for rows in (own, former or [])]
    difference = None
    if former and asked[0] == asked[1]:
        mine, its = ([as_judged(row) for row in rows] for rows in (own, former))
        difference = compare(mine, its, context.settings.evaluation.bootstrap)["f1_star"]
    return Champion(str(version.version), float(version.tags["f1_star"]), difference)


def rules_digest(root: Path) -> str:
    """Digest of the compiled rules, ``none`` before they are compiled."""
    return made_rules(root).get("digest", "none")


def _release(
    workspace: Workspace, context: Context, run: StepRun, metrics: dict[str, Any], graph_run: str
) -> None:
    """Move the champion alias if the gates of all artifacts that it rests on passed."""
    needed = [name for name in all_needed("model_release") if STEPS[name.split("@")[0]].gate]
    versions = workspace.versions.data_versions(needed)
    for stage in needed:
        kept = stored(workspace.root, stage, gate_key(workspace, versions.get(stage, "none")))
        if not (kept and kept.passed):
            raise GateError(
                f"no release: the gate of '{stage}' did not pass for the data that is here;"
                " materialize it",
                context.root / STEPS[stage.split("@")[0]].folder,
            )
    former = _champion(workspace, context)
    verdict = "first" if former is None else former.verdict
    number = registry.promote(
        workspace.tracking.client,
        workspace.profile,
        context.path("ppo_checkpoint", "rbr"),
        run.run_id,
        {
            "dvc.hash": workspace.versions.data_version("ppo_checkpoint@rbr"),
            "rules.digest": rules_digest(workspace.root),
            "f1_star": metrics["rbr_ppo.f1_star"],
            "profile": workspace.profile,
            "against_champion": verdict,
        },
        context.path("safety_eval", "rbr") / "ppo.jsonl",
    )
    run.tags({"model.version": number, "against_champion": verdict})
    told = f"champion: version {number} ({verdict} against the champion before)"
    notify("released", told, {"version": str(number), "run": run.run_id}, run.message)
    workspace.tracking.finish(
        graph_run,
        workspace.profile,
        rules_digest(workspace.root),
        workspace.settings.model_dump(mode="json"),
        metrics,
        context.path("model_release"),
    )


def all_needed(name: str) -> list[str]:
    """All DVC stages upstream of an artifact, in no order."""
    found: set[str] = set()
    todo = needed_stages(name, None)
    while todo:
        stage = todo.pop()
        if stage not in found:
            found.add(stage)
            own, _, variant = stage.partition("@")
            todo += needed_stages(own, variant or None)
    return sorted(found)


def require_inputs(workspace: Workspace, name: str, variant: str | None) -> None:
    """Check that what a step reads is what ``dvc.lock`` names, and bring it from the cache if not.

    Raises:
        GateError: naming the artifact that is missing or whose gate has not passed.
    """
    for stage in workspace.versions.uncommitted(needed_stages(name, variant)):
        if not workspace.versions.restore(stage):
            own = stage.split("@")[0]
            raise GateError(
                f"'{name}' needs '{stage}', which is missing, changed by hand, or whose gate did not"
                " pass: materialize it first",
                workspace.root / STEPS[own].folder / stage.replace("@", "/"),
            )
