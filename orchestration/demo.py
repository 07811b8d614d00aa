"""``python -m orchestration.demo``: the whole graph through Dagster, then the table.

What was made before from the same inputs is restored, so a second call computes nothing and a killed
one resumes.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.dagster_home import use_home
from orchestration.definitions import JOB
from orchestration.orphaned_runs import report_orphaned_runs
from orchestration.root import find_root
from orchestration.terminal import console, run_job, status_of
from pipeline.profile import read_settings
from pipeline.release.comparison_table import external_title
from rbr.files import read_json

# What the comparison is about; the other columns have a table of their own.
HEADLINE = ("not_unsafe", "not_overrefuse", "f1_star", "ideal_refusal")


def run_graph(root: Path, instance: dg.DagsterInstance, graph_run: str) -> list[str]:
    """Materialize everything, in one run.

    Returns:
        Problems, one line each; empty if all went well.
    """
    report_orphaned_runs(instance)
    return run_job(root, instance, JOB, graph_run)


def show(root: Path) -> None:
    """Print the comparison tables, of all prompts, response types and external sets, and where to look."""
    comparison = read_json(root / "data" / "model_release" / "comparison.json")
    # All columns side by side would not fit a terminal.
    for title, first in (
        ("Held-out safety evaluation: percent [95 % interval]", True),
        ("Answers, language and attacks: percent, fluency in nats [95 % interval]", False),
    ):
        names = [name for name in comparison["metrics"] if (name in HEADLINE) == first]
        titles = {name: comparison["titles"][name] for name in names}
        print_comparison(title, comparison["rows"], titles)
    for note in comparison["notes"]:
        console.print(f"- {note}")
    print_differences(comparison)
    titles = {name: comparison["type_titles"][name] for name in comparison["type_metrics"]}
    for part in comparison["types"]:
        title = f"{part['response_type']}: {part['prompts']} prompts"
        print_comparison(title, part["rows"], titles)
    for part in comparison["external"]:
        titles = {name: comparison["titles"][name] for name in part["metrics"]}
        print_comparison(external_title(part), part["rows"], titles)
        console.print(f"- {part['note']}", markup=False)
    console.print(
        "\nmake ui        Dagster (graph, gates) and MLflow (runs) on this machine"
        "\ndvc dag        which data made which model"
        "\nmodel card     data/model_release/model_card.md"
        "\ndata docs      gx/uncommitted/data_docs/local_site/index.html"
    )


def print_comparison(
    title: str, rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]
) -> None:
    """Print a row for each model: value and interval of each metric of ``titles``."""
    from rich.table import Table

    from pipeline.release.comparison_table import shown

    table = Table(title=title)
    table.add_column("model")
    for heading in titles.values():
        table.add_column(heading, justify="right")
    beside = " " if len(titles) <= len(HEADLINE) else "\n"
    for row in rows:
        cells = []
        for name in titles:
            value, interval = shown(name, *row[name])
            cells.append(f"{value}{beside}[dim]\\{interval}[/]")
        table.add_row(row["model"], *cells)
    console.print(table)


def print_differences(comparison: Mapping[str, Any]) -> None:
    """Print the main model less each other one, paired, and what the prompts can tell."""
    from rich.markup import escape
    from rich.table import Table

    from pipeline.release.differences import COMPARED, difference_cell

    table = Table(title=f"{comparison['main']} less another model, points [95 % interval]")
    table.add_column("less")
    for metric in COMPARED:
        table.add_column(comparison["titles"][metric], justify="right")
    for row in comparison["differences"]:
        cells = (escape(difference_cell(row[metric])) for metric in COMPARED)
        table.add_row(row["model"], *cells)
    console.print(table)
    for note in comparison["difference_notes"]:
        console.print(f"- {note}", markup=False)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo in the workspace; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.demo", description=__doc__)
    parser.add_argument("--root", type=Path)
    given = parser.parse_args(arguments).root
    started = time.monotonic()

    def work() -> list[str]:
        root = find_root(given)
        profile, _ = read_settings(root)
        console.print(f"profile {profile}; stop with Ctrl-C, the same command resumes")
        use_home(root)
        with dg.DagsterInstance.get() as instance:
            problems = run_graph(root, instance, f"demo-{uuid.uuid4().hex[:12]}")
        if not problems:
            show(root)
            console.print(f"\n{(time.monotonic() - started) / 60:.1f} minutes")
        return problems

    return status_of(work)


if __name__ == "__main__":
    sys.exit(main())
