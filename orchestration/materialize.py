"""Make one artifact, or restore it: what both doors, Dagster and ``dvc repro``, do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets import graph_of
from orchestration import code_digests, gate_runs
from orchestration.dvc_yaml import CODE, RELEASED, require_current
from orchestration.gate_runs import GateOutcome
from orchestration.lineage import made_by, registry
from orchestration.lineage.experiment import headline, run_name
from orchestration.lineage.tracking import StepRun, Tracking
from orchestration.lineage.versions import Versions
from orchestration.notify import notify
from orchestration.turns import turn
from orchestration.watch import made_rules
from pipeline.artifact import Artifact, upstream
from pipeline.context import Context
from pipeline.profile import Settings, read_settings
from pipeline.release.champion import Champion
from pipeline.run import library_log
from pipeline.variants import MAIN
from rbr.errors import GateError, RBRError
from rbr.evaluation.paired import compare
from rbr.files import iter_json_lines, read_json, replacing, unwritable, write_json
from rbr.options import Options
from rbr.rules.compiled import load_compiled
from rbr.rules.rules import Rules

Log = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """An artifact that was made or restored: its metrics, gate, data version and MLflow run."""

    folder: Path
    metrics: dict[str, float]
    gate: GateOutcome | None
    data_version: str
    restored: bool
    run_id: str | None = None
    run_url: str | None = None


@dataclass(frozen=True)
class Workspace:
    """A root with its profile, artifacts, DVC and MLflow.

    Attributes:
        gates_block: whether an artifact whose gate does not pass is kept out of DVC. Not in an ablation,
            which makes things worse on purpose; they stay out of the run cache, which others use.
    """

    root: Path
    profile: str
    settings: Settings
    graph: Mapping[str, Artifact]
    versions: Versions
    tracking: Tracking
    gates_block: bool = True

    @classmethod
    def open(cls, root: Path, log: Log = print) -> Workspace:
        """Read the settings that ``params.yaml`` names.

        Args:
            log: receives what DVC waits for.

        Raises:
            RBRError: naming the settings file and key at fault, or a ``dvc.yaml`` that is not of today's
                declarations.
        """
        profile, settings = read_settings(root)
        artifacts = graph_of(settings)
        require_current(root, artifacts)
        return cls(root, profile, settings, artifacts, Versions(root, log), Tracking(root, log))

    def update_code(self) -> None:
        """Write the digests of the code, and record them in ``dvc.lock`` (``dvc repro`` does it by itself)."""
        with turn(self.root, "code"):
            code_digests.write(self.root)
        self.versions.commit_if_changed(CODE)

    def artifact(self, key: str) -> Artifact:
        """The artifact of a key.

        Raises:
            RBRError: if there is none.
        """
        if key not in self.graph:
            raise RBRError(f"no artifact '{key}'; there are: {', '.join(self.graph)}")
        return self.graph[key]

    def context(self, artifact: Artifact, run: StepRun | None = None) -> Context:
        """What the artifact's body and gate are given."""
        more: dict[str, Any] = {} if run is None else {"run": run}
        if self.gates_block:
            more["champion"] = lambda: champion(self)
        return Context(self.root, self.settings, artifact, self.graph, **more)

    def rules(self) -> Rules | None:
        """The compiled rules; None before the first run."""
        folder = self.root / self.graph["rules"].path
        return load_compiled(folder) if (folder / "hashes.json").is_file() else None

    def stages(self, keys: list[str] | tuple[str, ...]) -> list[str]:
        """The DVC stages of these artifacts."""
        return [self.graph[key].stage for key in keys]


def restore(workspace: Workspace, artifact: Artifact) -> Made | None:
    """The artifact, if it was made before from the same inputs; its gate is evaluated at most once.

    Raises:
        GateError: naming an input that is missing or whose gate has not passed.
    """
    require_inputs(workspace, artifact)
    version = workspace.versions.restore(artifact.stage)
    if version is None:
        return None
    context = workspace.context(artifact)
    gate = None
    if artifact.gate:
        key = gate_key(workspace, artifact, version)
        gate = gate_runs.stored(workspace.root, artifact.stage, key)
        if gate is None:
            gate = gate_runs.evaluate(context)
            gate_runs.store(workspace.root, artifact.stage, key, gate)
    metrics = read_json(context.folder / "metrics.json")
    if artifact.name == "model_release":
        publish(workspace, metrics)
    run_id, run_url = made_by.found(workspace.root, artifact.stage, version)
    return Made(context.folder, metrics, gate, version, True, run_id, run_url)


def gate_key(workspace: Workspace, artifact: Artifact, version: str) -> str:
    """What the outcome of a gate depends on: the data, the thresholds, and the gate's code."""
    thresholds = json.dumps(workspace.settings.gates.model_dump(), sort_keys=True)
    return f"{version} {thresholds} {code_digests.gate_digest(artifact)}"


@contextmanager
def one_line_for_refused_writes(key: str, root: Path) -> Iterator[None]:
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
            f"cannot write '{key}' ({reason}): free the space or grant the permission; what was there"
            " before is untouched",
            Path(str(where)),
        ) from error


def make(workspace: Workspace, artifact: Artifact, graph_run: str, log: Log, commit: bool) -> Made:
    """Call the artifact's body and gate, and record both.

    Args:
        graph_run: names the MLflow parent run.
        commit: record it in DVC (``dvc repro`` does that by itself).

    Raises:
        InputsChangedError: if what it reads was edited meanwhile; it is not recorded then.
        RBRError: for bad input, a full disk, or an MLflow server that stays away. A gate that does not
            pass raises nothing: see ``Made.gate``.
    """
    with one_line_for_refused_writes(artifact.key, workspace.root):
        inputs = workspace.versions.inputs(artifact.stage) if commit else {}
        settings = parameters(workspace.settings, artifact)
        name = run_name(artifact, workspace.settings, workspace.rules())
        with workspace.tracking.step(
            artifact, name, graph_run, workspace.profile, settings, log
        ) as run:
            context = workspace.context(artifact, run)
            with replacing(context.folder) as output, library_log(run.log):
                output.mkdir(parents=True)
                metrics = {name: float(v) for name, v in artifact.body(context, output).items()}
                write_json(output / "metrics.json", metrics)
            run.metrics({**metrics, **headline(metrics)})
            run.files(context.folder)
            gate = evaluate_gate(workspace, context, run)
            passed = gate is None or gate.passed
            if commit and (passed or not workspace.gates_block):
                workspace.versions.commit(artifact.stage, inputs, share=passed)
            hashes = workspace.versions.hashes(artifact.stage)
            version = workspace.versions.data_version(artifact.stage)
            run.lineage(hashes, rules_digest(workspace.root), version)
            if artifact.folder == "models":
                run.model(artifact.stage, version, settings)
            if gate:
                key = gate_key(workspace, artifact, version)
                gate_runs.store(workspace.root, artifact.stage, key, gate)
            if artifact.name == "model_release" and passed:
                release(workspace, context, run, metrics, graph_run)
        experiment = workspace.tracking.experiment
        made_by.store(workspace.root, artifact.stage, version, run.run_id, experiment)
        url = made_by.run_url(workspace.root, experiment, run.run_id)
        return Made(context.folder, metrics, gate, version, False, run.run_id, url)


def parameters(settings: Settings, artifact: Artifact) -> dict[str, Any]:
    """The settings that the artifact reads, flat."""
    found: dict[str, Any] = {"seed": settings.seed}
    for name in artifact.settings:
        section, _, part = name.partition(".")
        value = getattr(settings, section)
        value = value[part] if part else value
        if isinstance(value, Options):
            found |= {f"{name}.{key}": item for key, item in value.model_dump().items()}
        else:
            found[name] = value
    return found


def evaluate_gate(workspace: Workspace, context: Context, run: StepRun) -> GateOutcome | None:
    """Evaluate the artifact's gate and alarm, and record and announce the outcome."""
    artifact = context.artifact
    if artifact.gate is None:
        run.tags({"gate": "none"})
        return None
    gate = gate_runs.evaluate(context)
    run.tags({"gate": "passed" if gate.passed else "failed"})
    if gate.rows:
        run.table("gate", gate.rows)
    if not gate.passed and workspace.gates_block:
        text = f"the gate of {artifact.key} does not pass: {'; '.join(gate.failures)}"
        notify("gate_failed", text, {"artifact": artifact.key, "run": run.run_id}, run.log)
    if artifact.alarm:
        raised = gate.only(alarm=True).failures
        run.tags({"alarm": "raised" if raised else "silent"})
        if raised and workspace.gates_block:
            text = f"alarm of {artifact.key}: {'; '.join(raised)}"
            notify("alarm", text, {"artifact": artifact.key, "run": run.run_id}, run.log)
    return gate


def champion(workspace: Workspace) -> Champion | None:
    """The best of the profile's champions, and the difference of the new policy's F1* to its own.

    The best, and not the last: else quality could sink by a little, within each gate's margin, at every
    release. Only those are compared that answered the same prompts and were judged by the same judge; where
    there is none, the last is returned, without a difference.
    """
    from rbr.evaluation.safety import as_verdict

    client = workspace.tracking.client
    last = registry.champion(client, workspace.profile)
    if last is None:
        return None
    folder = workspace.root / workspace.graph[MAIN.key("safety_eval")].path
    new = [row for _, row in iter_json_lines(folder / "ppo.jsonl")]
    judge = workspace.versions.data_version(workspace.graph["judge"].stage)
    for version in registry.champions(client, workspace.profile):
        if version.tags.get("judge.hash") != judge:
            continue
        former = registry.judged_rows(client, version) or []
        # Rows of another version may lack what a verdict says today.
        needed = vars(as_verdict(new[0])).keys() - {"family"} if new else set()
        same = new and former and former[0].keys() >= needed
        if not same or [row["prompt_id"] for row in new] != [row["prompt_id"] for row in former]:
            continue
        new_verdicts, former_verdicts = (
            [as_verdict(row) for row in rows] for rows in (new, former)
        )
        bootstrap = workspace.settings.evaluation.bootstrap
        difference = compare(new_verdicts, former_verdicts, bootstrap)["f1_star"]
        return Champion(str(version.version), float(version.tags["f1_star"]), difference)
    return Champion(str(last.version), float(last.tags["f1_star"]), None)


def rules_digest(root: Path) -> str:
    """Digest of the compiled rules, ``none`` before they are compiled."""
    return made_rules(root).get("digest", "none")


def release(
    workspace: Workspace,
    context: Context,
    run: StepRun,
    metrics: Mapping[str, float],
    graph_run: str,
) -> None:
    """Move the champion alias to the new policy.

    Raises:
        GateError: if the gate of an artifact that it rests on did not pass.
    """
    require_gates(workspace, context.artifact)
    former = champion(workspace)
    verdict = "first" if former is None else former.verdict
    policy = workspace.graph[MAIN.key("ppo_checkpoint")]
    policy_version = workspace.versions.data_version(policy.stage)
    number = registry.promote(
        workspace.tracking.client,
        workspace.profile,
        context.path(policy.key),
        run.run_id,
        {
            "dvc.hash": policy_version,
            "rules.digest": rules_digest(workspace.root),
            "f1_star": metrics[f"{MAIN.name}_ppo.f1_star"],
            "profile": workspace.profile,
            "against_champion": verdict,
            "judge.hash": workspace.versions.data_version(workspace.graph["judge"].stage),
        },
        context.path(MAIN.key("safety_eval")) / "ppo.jsonl",
        (context.folder / "model_card.md").read_text(encoding="utf-8"),
    )
    run.tags({"model.version": number, "against_champion": verdict})
    text = f"champion: version {number} ({verdict} against the best champion before)"
    notify("released", text, {"version": str(number), "run": run.run_id}, run.log)
    parent = workspace.tracking.finish(
        graph_run,
        workspace.profile,
        run_name(policy, workspace.settings, workspace.rules()),
        rules_digest(workspace.root),
        workspace.settings.model_dump(mode="json"),
        metrics,
        context.folder,
    )
    data = {a.stage: a.path for a in workspace.graph.values() if a.group == "data"}
    versions = workspace.versions.data_versions(list(data))
    parent.datasets({data[stage]: version for stage, version in versions.items()})
    parent.made(policy_version)
    publish(workspace, metrics)


def publish(workspace: Workspace, metrics: Mapping[str, float]) -> None:
    """Write the release's figures where git keeps them: ``dvc metrics diff`` compares commits by them.

    Those of the artifacts are in DVC's cache, which a clone need not have.
    """
    if workspace.gates_block:
        write_json(workspace.root / RELEASED, {"profile": workspace.profile, **metrics})


def require_gates(workspace: Workspace, artifact: Artifact) -> None:
    """Check that every gate upstream passed for the data that is here.

    Raises:
        GateError: naming the first artifact whose gate did not.
    """
    gated = [
        a for key in upstream(workspace.graph, artifact.key) if (a := workspace.graph[key]).gate
    ]
    versions = workspace.versions.data_versions([needed.stage for needed in gated])
    for needed in gated:
        key = gate_key(workspace, needed, versions.get(needed.stage, "none"))
        kept = gate_runs.stored(workspace.root, needed.stage, key)
        if not (kept and kept.passed):
            raise GateError(
                f"no release: the gate of '{needed.key}' did not pass for the data that is here;"
                " materialize it",
                workspace.root / needed.path,
            )


def require_inputs(workspace: Workspace, artifact: Artifact) -> None:
    """Check that what a body reads is what ``dvc.lock`` names, and bring it from the cache if not.

    Raises:
        GateError: naming the artifact that is missing or whose gate has not passed.
    """
    by_stage = {workspace.graph[key].stage: workspace.graph[key] for key in artifact.inputs}
    for stage in workspace.versions.uncommitted(list(by_stage)):
        if not workspace.versions.restore(stage):
            needed = by_stage[stage]
            raise GateError(
                f"'{artifact.key}' needs '{needed.key}', which is missing, changed by hand, or whose"
                " gate did not pass: materialize it first",
                workspace.root / needed.path,
            )
