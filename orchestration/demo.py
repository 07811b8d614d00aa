"""``python -m orchestration.demo``: the whole graph through Dagster, then the table.

What was made before from the same inputs is given back, so a second call computes nothing and a
killed one goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.console import console, terminal
from orchestration.definitions import definitions
from orchestration.execute import Workspace
from orchestration.home import use_home
from orchestration.jobs import per_variant, shared
from orchestration.lost import PROCESS_TAG, report_lost_runs
from orchestration.resources import GRAPH_RUN_TAG
from rbr.errors import RBRError
from rbr.files import read_json
from rbr.settings import VARIANTS


def quiet() -> None:
    """Libraries' own bars and notes; what the steps say is shown instead."""
    import logging

    warnings.filterwarnings("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    logging.getLogger("py.warnings").setLevel(logging.ERROR)


def problems_of(result: dg.ExecuteInProcessResult) -> list[str]:
    """What stopped a run: failed steps and gates, one line each."""
    found = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            cause: Any = data.error
            while cause is not None and cause.cause is not None:
                cause = cause.cause
            told = data.user_failure_data.description if data.user_failure_data else None
            text = told or (cause.message.strip() if cause else "failed")
            if "DagsterAssetCheckFailedError" in text:
                continue  # told below, with what failed
            found.append(f"{event.step_key}: {text}")
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            if not check.passed:
                failed = check.metadata["failed"].value
                found.append(f"{check.asset_key.to_user_string()}: gate did not pass: {failed}")
    return found


def run_graph(root: Path, instance: dg.DagsterInstance, graph_run: str) -> list[str]:
    """Materialize everything: shared part, each variant, release.

    Returns:
        Problems, one line each; empty if all went well. Stops at the first part that fails.
    """
    report_lost_runs(instance)
    defs = definitions(root, loggers={"console": terminal})
    parts: list[tuple[str, str | None]] = [("shared", None)]
    # The project's own variant first; those that it is compared with after it.
    parts += [("variant", variant) for variant in reversed(VARIANTS)]
    parts.append(("release", None))
    for job, variant in parts:
        names = {"shared": shared, "variant": per_variant, "release": ["model_release"]}[job]
        title = f"{job} {variant}" if variant else job
        console.rule(f"[bold]{title}[/] · {len(names)} artifacts", align="left")
        result = defs.resolve_job_def(job).execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {}}},
            partition_key=variant,
            tags={GRAPH_RUN_TAG: graph_run, PROCESS_TAG: str(os.getpid())},
            raise_on_error=False,
        )
        problems = problems_of(result)
        if problems or not result.success:
            return problems or [f"{title} failed: see the run in the Dagster UI"]
    return []


def show(root: Path) -> None:
    """Print the comparison table and where to look."""
    from rich.table import Table

    comparison = read_json(root / "data" / "model_release" / "comparison.json")
    table = Table(title="Held-out safety evaluation: percent [95 % interval]")
    table.add_column("model")
    for name in comparison["metrics"]:
        table.add_column(comparison["titles"][name], justify="right")
    for row in comparison["rows"]:
        cells = []
        for name in comparison["metrics"]:
            value, low, high = (100 * part for part in row[name])
            cells.append(f"{value:.1f} [dim]\\[{low:.0f}, {high:.0f}][/]")
        table.add_row(row["model"], *cells)
    console.print(table)
    for note in comparison["notes"]:
        console.print(f"- {note}")
    console.print(
        "\nmake ui        Dagster (graph, gates) and MLflow (runs) on this machine"
        "\ndvc dag        which data made which model"
        "\nmodel card     data/model_release/model_card.md"
        "\ndata docs      gx/uncommitted/data_docs/local_site/index.html"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the demo in the current folder; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.demo", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path.cwd())
    root = parser.parse_args(arguments).root.resolve()
    started = time.monotonic()
    quiet()
    try:
        workspace = Workspace.open(root)
        console.print(f"profile {workspace.profile}; stop with Ctrl-C, the same command goes on")
        use_home(root)
        with dg.DagsterInstance.get() as instance:
            problems = run_graph(root, instance, f"demo-{uuid.uuid4().hex[:12]}")
    except RBRError as error:
        problems = [str(error)]
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here")
        return 130
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        return 1
    show(root)
    console.print(f"\n{(time.monotonic() - started) / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
