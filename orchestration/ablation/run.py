"""Make what an arm needs, and compare the arms."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestration.ablation.compare import Comparison, Result, compare, draw, markdown
from orchestration.ablation.spec import Ablation
from orchestration.ablation.workspace import folder_of, prepare
from orchestration.lineage.tracking import StepRun
from orchestration.materialize import Workspace, make, restore
from pipeline.artifact import Artifact, upstream
from pipeline.plots import axes, save_plot
from pipeline.variants import VARIANTS
from rbr.files import iter_json_lines, read_json, write_json

Log = Callable[[str], None]


def evaluated(workspace: Workspace, ablation: Ablation, arm: str) -> list[Artifact]:
    """The artifacts whose figures an arm shows."""
    variant = VARIANTS[ablation.arms[arm].variant]
    names = ["safety_eval"]
    if ablation.measure:
        names.append(ablation.measure.artifact)
    keys = [key for name in names for key in (name, variant.key(name)) if key in workspace.graph]
    return [workspace.graph[key] for key in keys]


def needed(workspace: Workspace, ablation: Ablation, arm: str) -> list[Artifact]:
    """The artifacts that an arm's figures rest on, in the graph's order."""
    shown = [artifact.key for artifact in evaluated(workspace, ablation, arm)]
    found = {*shown, *(key for name in shown for key in upstream(workspace.graph, name))}
    return [artifact for key, artifact in workspace.graph.items() if key in found]


def run_arm(root: Path, ablation: Ablation, arm: str, graph_run: str, log: Log) -> Path:
    """Make an arm's artifacts and keep its figures as ``result.json``; a stopped one resumes.

    Gates are evaluated and reported, and stop nothing: an arm makes things worse on purpose.

    Args:
        graph_run: names the ablation's MLflow run.

    Returns:
        The arm's workspace.

    Raises:
        RBRError: for bad input.
    """
    workspace = prepare(root, ablation, arm)
    failed: list[str] = []
    made = []
    for artifact in needed(workspace, ablation, arm):
        outcome = restore(workspace, artifact)
        if outcome is None:
            log(f"{arm}: making {artifact.key}")
            made.append(artifact.key)
            outcome = make(workspace, artifact, graph_run, log, commit=True)
        if outcome.gate and not outcome.gate.passed:
            failed += [f"{artifact.key}: {text}" for text in outcome.gate.failures]
    log(f"{arm}: made {', '.join(made) or 'nothing'}; the rest was restored")
    result = _result(workspace, ablation, arm, failed)
    write_json(workspace.root / "result.json", {**result, "made": made})
    parent = workspace.tracking.parent(graph_run, workspace.profile)
    run = StepRun(workspace.tracking.root, parent, log)
    values = {name: value[0] for name, value in result["metrics"].items()}
    if result["measure"] is not None:
        values["measure"] = result["measure"]
    run.metrics(values)
    run.tags({"gates.failed": str(len(failed))})
    workspace.tracking.client.set_terminated(parent, "FINISHED")
    return workspace.root


def _result(
    workspace: Workspace, ablation: Ablation, arm: str, failed: list[str]
) -> dict[str, Any]:
    model = ablation.arms[arm].model
    folders = [workspace.root / a.path for a in evaluated(workspace, ablation, arm)]
    measure = None
    if ablation.measure:
        measure = read_json(folders[-1] / "metrics.json")[ablation.measure.metric]
    return {
        "metrics": read_json(folders[0] / "results.json")[model]["metrics"],
        "rows": str((folders[0] / f"{model}.jsonl").relative_to(workspace.root)),
        "measure": measure,
        "failed_gates": failed,
    }


def read_result(root: Path, ablation: Ablation, arm: str) -> Result:
    """An arm's kept figures.

    Raises:
        DataError: if the arm was not run.
    """
    from rbr.evaluation.safety import as_verdict

    folder = folder_of(root, ablation, arm)
    kept = read_json(folder / "result.json")
    verdicts = [as_verdict(row) for _, row in iter_json_lines(folder / kept["rows"])]
    return Result(kept["metrics"], verdicts, kept["measure"], kept["failed_gates"])


def conclude(root: Path, ablation: Ablation, graph_run: str, log: Log) -> tuple[Path, Comparison]:
    """Compare the arms; write the table and the plot beside them, and to the ablation's MLflow run.

    Returns:
        The folder with ``comparison.json``, ``ablation.md`` and ``ablation.png``; and the comparison.
    """
    results = {arm: read_result(root, ablation, arm) for arm in ablation.arms}
    workspace = prepare(root, ablation, ablation.reference)
    compared = compare(ablation, results, workspace.settings.evaluation.bootstrap)
    folder = folder_of(root, ablation, ablation.reference).parent
    write_json(folder / "comparison.json", asdict(compared))
    (folder / "ablation.md").write_text(markdown(ablation, compared), encoding="utf-8")
    figure, plots = axes(13, 5.5, 2)
    draw(ablation, compared, plots)
    save_plot(figure, folder / "ablation.png")
    tracking: Any = workspace.tracking
    run = StepRun(root, tracking.top(graph_run, workspace.profile), log)
    run.files(folder)
    run.table("arms", compared.flat())
    reference = results[ablation.reference]
    run.metrics({f"reference.{name}": value[0] for name, value in reference.metrics.items()})
    run.tags({"concluded": time.strftime("%Y-%m-%d %H:%M")})
    tracking.client.set_terminated(run.run_id, "FINISHED")
    return folder, compared
