"""``python -m orchestration.demo``: the whole graph through Dagster, then the table.

What was made before from the same inputs is restored, so a second call computes nothing and a killed
one resumes.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from pathlib import Path

import dagster as dg

from orchestration.dagster_home import use_home
from orchestration.definitions import JOB, definitions
from orchestration.orphaned_runs import report_orphaned_runs
from orchestration.terminal import console, run_job, status_of, terminal_logger
from pipeline.profile import read_settings
from rbr.files import read_json


def run_graph(root: Path, instance: dg.DagsterInstance, graph_run: str) -> list[str]:
    """Materialize everything, in one run.

    Returns:
        Problems, one line each; empty if all went well.
    """
    report_orphaned_runs(instance)
    defs = definitions(root, loggers={"console": terminal_logger})
    return run_job(defs, instance, JOB, graph_run)


def show(root: Path) -> None:
    """Print the comparison table and where to look."""
    from rich.table import Table

    from pipeline.release.comparison_table import shown

    comparison = read_json(root / "data" / "model_release" / "comparison.json")
    table = Table(title="Held-out safety evaluation: percent, fluency in nats [95 % interval]")
    table.add_column("model")
    for name in comparison["metrics"]:
        table.add_column(comparison["titles"][name], justify="right")
    for row in comparison["rows"]:
        cells = []
        for name in comparison["metrics"]:
            value, interval = shown(name, *row[name])
            cells.append(f"{value} [dim]\\{interval}[/]")
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

    def work() -> list[str]:
        profile, _ = read_settings(root)
        console.print(f"profile {profile}; stop with Ctrl-C, the same command resumes")
        use_home(root)
        with dg.DagsterInstance.get() as instance:
            return run_graph(root, instance, f"demo-{uuid.uuid4().hex[:12]}")

    status = status_of(work)
    if status:
        return status
    show(root)
    console.print(f"\n{(time.monotonic() - started) / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
