"""``python -m orchestration.ablation [NAME]``: run an ablation through Dagster; without a name, list them.

What was made before is given back, so a second call computes nothing and a killed one goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from pathlib import Path

import dagster as dg
from rich.markdown import Markdown

from orchestration.ablation.jobs import job_name
from orchestration.console import console, terminal
from orchestration.definitions import definitions
from orchestration.demo import problems_of, quiet
from orchestration.home import use_home
from orchestration.lost import PROCESS_TAG
from orchestration.resources import GRAPH_RUN_TAG
from rbr.ablations import read_ablations
from rbr.errors import RBRError


def main(arguments: list[str] | None = None) -> int:
    """Run an ablation in the current folder; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.ablation", description=__doc__)
    parser.add_argument("name", nargs="?")
    name = parser.parse_args(arguments).name
    root = Path.cwd().resolve()
    quiet()
    try:
        known = read_ablations(root)
        if name is None:
            for own in known.values():
                console.print(f"[cyan]{own.name:<18}[/] {own.title}: {', '.join(own.arms)}")
            return 0
        if name not in known:
            raise RBRError(
                f"no ablation '{name}'; there are: {', '.join(known)}", root / "ablations"
            )
        problems = _run(root, name)
    except RBRError as error:
        problems = [str(error)]
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here")
        return 130
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        return 1
    folder = root / ".cache" / "ablations" / name
    console.print(Markdown((folder / "ablation.md").read_text(encoding="utf-8")))
    console.print(f"plot: {folder / 'ablation.png'}; in MLflow: the run 'ablation {name}'")
    return 0


def _run(root: Path, name: str) -> list[str]:
    use_home(root)
    with dg.DagsterInstance.get() as instance:
        defs = definitions(root, loggers={"console": terminal})
        result = defs.resolve_job_def(job_name(name)).execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {}}},
            tags={
                GRAPH_RUN_TAG: f"ablation-{name}-{uuid.uuid4().hex[:12]}",
                PROCESS_TAG: str(os.getpid()),
            },
            raise_on_error=False,
        )
    return problems_of(result) or ([] if result.success else ["failed: see the Dagster UI"])


if __name__ == "__main__":
    sys.exit(main())
