"""How long commands take to start: ``python benchmarks/startup.py``.

Each command is timed in turn with ``python -c "import typer, rich, pydantic, ruamel.yaml"``, the libraries that any
command line of this kind loads; the table gives the least of the rounds, in CPU seconds (which other work on the
machine changes less than the clock) and as a ratio to that.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = "import typer, rich, pydantic, ruamel.yaml"
RBR = ("-m", "orchestration.cli.main")
COMMANDS: dict[str, tuple[str, ...]] = {
    "libraries": ("-c", LIBRARIES),
    "rbr --help": (*RBR, "--help"),
    "rbr rules check": (*RBR, "rules", "check"),
    "rbr data stats": (*RBR, "data", "stats"),
}


def cpu_seconds(arguments: Sequence[str]) -> float:
    """User and system time of ``python ARGUMENTS`` in the project's root."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def least(rounds: int) -> dict[str, float]:
    """The least time of each command; the rounds alternate, so that all see the same machine."""
    times = [{name: cpu_seconds(of) for name, of in COMMANDS.items()} for _ in range(rounds)]
    return {name: min(row[name] for row in times) for name in COMMANDS}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    found = least(parser.parse_args().rounds)
    for name, seconds in found.items():
        print(f"{name:<18}{seconds:6.2f} s {seconds / found['libraries']:6.1f} x")


if __name__ == "__main__":
    main()
