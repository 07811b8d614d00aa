"""Make what an arm needs, and compare the arms."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestration.ablation.workspace import folder_of, prepare
from orchestration.execute import Workspace, make, needed_stages, reuse
from orchestration.lineage.tracking import StepRun
from orchestration.lineage.versions import address
from rbr.ablations import Ablation, Comparison, Result, compare, draw, markdown
from rbr.evaluation.safety import as_judged
from rbr.files import iter_json_lines, read_json, write_json
from rbr.settings import Variant
from rbr.steps import STEPS
from rbr.steps.common import axes, save_plot

Say = Callable[[str], None]


def stages_of(ablation: Ablation, arm: str) -> list[tuple[str, Variant | None]]:
    """Steps that an arm's figures rest on, in the graph's order."""
    variant = ablation.arms[arm].variant
    todo = [address("safety_eval", variant)]
    if ablation.measure:
        step = ablation.measure.step
        todo.append(address(step, variant if STEPS[step].variants else None))
    found: set[str] = set()
    while todo:
        stage = todo.pop()
        if stage not in found:
            found.add(stage)
            name, _, own = stage.partition("@")
            todo += needed_stages(name, own or None)
    return [
        (name, variant if step.variants else None)
        for name, step in STEPS.items()
        if address(name, variant if step.variants else None) in found
    ]


def run_arm(root: Path, ablation: Ablation, arm: str, graph_run: str, say: Say) -> Path:
    """Make an arm's artifacts and keep its figures as ``result.json``; a stopped one goes on.

    Gates are evaluated and told, and stop nothing: an arm makes things worse on purpose.

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
    for name, variant in stages_of(ablation, arm):
        outcome = reuse(workspace, name, variant)
        if outcome is None:
            say(f"{arm}: making {address(name, variant)}")
            made.append(name)
            outcome = make(workspace, name, variant, graph_run, say, commit=True)
        if outcome.gate and not outcome.gate.passed:
            failed += [f"{address(name, variant)}: {text}" for text in outcome.gate.failures]
    say(f"{arm}: made {', '.join(made) or 'nothing'}; the rest was given back")
    result = _result(workspace, ablation, arm, failed)
    write_json(workspace.root / "result.json", {**result, "made": made})
    run = _arm_run(workspace, graph_run, say)
    own = {name: value[0] for name, value in result["metrics"].items()}
    run.metrics({"measure": result["measure"], **own} if result["measure"] is not None else own)
    run.tags({"gates.failed": str(len(failed))})
    workspace.tracking.client.set_terminated(run.run_id, "FINISHED")
    return workspace.root


def _arm_run(workspace: Workspace, graph_run: str, say: Say) -> StepRun:
    tracking = workspace.tracking
    return StepRun(tracking.client, tracking.parent(graph_run, workspace.profile), say)


def _result(
    workspace: Workspace, ablation: Ablation, arm: str, failed: list[str]
) -> dict[str, Any]:
    own = ablation.arms[arm]
    folder = workspace.root / "data" / "safety_eval" / own.variant
    measure = None
    if ablation.measure:
        step = STEPS[ablation.measure.step]
        found = workspace.root / step.folder / ablation.measure.step
        found = found / own.variant if step.variants else found
        measure = read_json(found / "metrics.json")[ablation.measure.metric]
    return {
        "metrics": read_json(folder / "results.json")[own.model]["metrics"],
        "rows": str((folder / f"{own.model}.jsonl").relative_to(workspace.root)),
        "measure": measure,
        "failed_gates": failed,
    }


def read_result(root: Path, ablation: Ablation, arm: str) -> Result:
    """An arm's kept figures.

    Raises:
        DataError: if the arm was not run.
    """
    folder = folder_of(root, ablation, arm)
    kept = read_json(folder / "result.json")
    judged = [as_judged(row) for _, row in iter_json_lines(folder / kept["rows"])]
    return Result(kept["metrics"], judged, kept["measure"], kept["failed_gates"])


def conclude(root: Path, ablation: Ablation, graph_run: str, say: Say) -> tuple[Path, Comparison]:
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
    draw(ablation, compared, plots[0])
    save_plot(figure, folder / "ablation.png")
    tracking: Any = workspace.tracking
    run = StepRun(tracking.client, tracking.top(graph_run, workspace.profile), say)
    run.files(folder)
    run.table("arms", compared.flat())
    reference = results[ablation.reference]
    run.metrics({f"reference.{name}": value[0] for name, value in reference.metrics.items()})
    run.tags({"concluded": time.strftime("%Y-%m-%d %H:%M")})
    tracking.client.set_terminated(run.run_id, "FINISHED")
    return folder, compared
