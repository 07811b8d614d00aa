"""DVC's door: ``python -m orchestration.stage KEY``, the command of each stage.

Exit status 1, and one line on stderr, for bad input and for a gate that does not pass; DVC records
nothing then.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from uuid import uuid4

import psutil

from orchestration.bars import hide_bars
from orchestration.materialize import Workspace, make
from rbr.errors import GateError, RBRError


def main(arguments: list[str] | None = None) -> int:
    """Make one artifact in the current folder; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.stage", description=__doc__)
    parser.add_argument("key", help="of the artifact: rules, rbr/ppo_checkpoint, ...")
    key = parser.parse_args(arguments).key
    hide_bars()
    try:
        workspace = Workspace.open(Path.cwd())
        made = make(workspace, workspace.artifact(key), graph_run(), print, commit=False)
        if made.gate and not made.gate.passed:
            failures = "; ".join(made.gate.failures)
            raise GateError(f"the gate of '{key}' does not pass: {failures}", made.folder)
    except RBRError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def graph_run() -> str:
    """Names the MLflow parent run: the same for all stages of one ``dvc repro``, and for no other."""
    named = os.environ.get("RBR_GRAPH_RUN")
    if named:
        return named
    above = [p for p in psutil.Process().parents() if any("dvc" in part for part in p.cmdline())]
    return f"dvc-{above[-1].pid}-{started(above[-1])}" if above else f"dvc-{uuid4().hex}"


def started(process: psutil.Process) -> str:
    """With the process id, names one process for ever: ids repeat, in containers above all.

    Where Linux has them, the boot and the ticks from it on: times change when the clock is set.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        after_name = Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()
        return f"{boot[:8]}-{int(after_name[19])}"
    except OSError:
        return f"{process.create_time():.2f}"


if __name__ == "__main__":
    sys.exit(main())
