"""``python -m orchestration.ablation [NAME]``: run an ablation, or list those that there are."""

from __future__ import annotations

import argparse
import sys
import uuid

import dagster as dg
from rich.markdown import Markdown

from orchestration.ablation.job import JOB, OP
from orchestration.ablation.spec import read_ablation, read_ablations
from orchestration.dagster_home import use_home
from orchestration.orphaned_runs import report_orphaned_runs
from orchestration.root import find_root
from orchestration.terminal import console, run_job, status_of


def main(arguments: list[str] | None = None) -> int:
    """Run an ablation in the workspace; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.ablation", description=__doc__)
    parser.add_argument("name", nargs="?")
    name = parser.parse_args(arguments).name

    def work() -> list[str]:
        root = find_root()
        if name is None:
            for found in read_ablations(root).values():
                console.print(f"[cyan]{found.name:<18}[/] {found.title}: {', '.join(found.arms)}")
            return []
        read_ablation(root, name)
        use_home(root)
        with dg.DagsterInstance.get() as instance:
            report_orphaned_runs(instance)
            graph_run = f"ablation-{name}-{uuid.uuid4().hex[:12]}"
            problems = run_job(root, instance, JOB, graph_run, {OP: {"config": {"name": name}}})
        if not problems:
            folder = root / ".cache" / "ablations" / name
            console.print(Markdown((folder / "ablation.md").read_text(encoding="utf-8")))
            console.print(f"plot: {folder / 'ablation.png'}; in MLflow: the run 'ablation {name}'")
        return problems

    return status_of(work)


if __name__ == "__main__":
    sys.exit(main())
