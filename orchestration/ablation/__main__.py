"""``python -m orchestration.ablation [NAME]``: run an ablation through Dagster; without a name, list them.

What was made before is given back, so a second call computes nothing and a killed one goes on.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from pathlib import Path

import dagster as dg
from rich.markdown import Markdown

from orchestration.ablation.jobs import job_name
from orchestration.console import console, terminal
from orchestration.definitions import definitions
from orchestration.home import use_home
from orchestration.in_process import run_job, status_of
from orchestration.lost import report_lost_runs
from rbr.ablations import read_ablations
from rbr.errors import RBRError


def main(arguments: list[str] | None = None) -> int:
    """Run an ablation in the current folder; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.ablation", description=__doc__)
    parser.add_argument("name", nargs="?")
    name = parser.parse_args(arguments).name
    root = Path.cwd().resolve()

    def work() -> list[str]:
        known = read_ablations(root)
        if name is None:
            for own in known.values():
                console.print(f"[cyan]{own.name:<18}[/] {own.title}: {', '.join(own.arms)}")
            return []
        if name not in known:
            raise RBRError(
                f"no ablation '{name}'; there are: {', '.join(known)}", root / "ablations"
            )
        use_home(root)
        with dg.DagsterInstance.get() as instance:
            report_lost_runs(instance)
            defs = definitions(root, loggers={"console": terminal})
            graph_run = f"ablation-{name}-{uuid.uuid4().hex[:12]}"
            return run_job(defs, instance, job_name(name), graph_run)

    status = status_of(work)
    if status or name is None:
        return status
    folder = root / ".cache" / "ablations" / name
    console.print(Markdown((folder / "ablation.md").read_text(encoding="utf-8")))
    console.print(f"plot: {folder / 'ablation.png'}; in MLflow: the run 'ablation {name}'")
    return 0


if __name__ == "__main__":
    sys.exit(main())
