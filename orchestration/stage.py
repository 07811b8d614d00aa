"""DVC's door: ``python -m orchestration.stage NAME [--variant V]``, the command of each stage.

Exit status 1, and one line on stderr, for bad input and for a gate that did not pass; DVC records
nothing then.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from orchestration.execute import Workspace, make
from rbr.errors import GateError, RBRError
from rbr.settings import VARIANTS
from rbr.steps import STEPS


def main(arguments: list[str] | None = None) -> int:
    """Make one artifact in the current folder; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.stage", description=__doc__)
    parser.add_argument("name", choices=list(STEPS))
    parser.add_argument("--variant", choices=VARIANTS)
    options = parser.parse_args(arguments)
    if STEPS[options.name].variants != bool(options.variant):
        parser.error(f"--variant is {'needed' if options.variant is None else 'not taken'} here")
    # All stages of one `dvc repro` share its process group, and so one MLflow parent run.
    graph_run = os.environ.get("RBR_GRAPH_RUN", f"dvc-{os.getpgid(0)}")
    try:
        workspace = Workspace.open(Path.cwd())
        outcome = make(workspace, options.name, options.variant, graph_run, print, commit=False)
        if outcome.gate and not outcome.gate.passed:
            raise GateError(
                "gate did not pass: " + "; ".join(outcome.gate.failures), outcome.folder
            )
    except RBRError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
