"""Grading on a Ray cluster of one and of two workers beside grading in this process, in one run.

    python benchmarks/scale.py [--rows 384] [--batch 16] [--turns 2]

The grader is a head of the laptop profile's shape (SmolLM2's lower layers, random heads: the cost is
the same), one thread a worker, each worker pinned to a core of its own. Prints rows a second, the ratio of
two workers to one, and what Ray costs at one worker beside this process. Counted from the first
batch's start to the last result's arrival: starting a cluster and loading models is not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.embedded import model_folder  # noqa: E402
from benchmarks.grading import random_head, rows  # noqa: E402
from rbr.grading.base import Request  # noqa: E402
from rbr.grading.head import HeadGrader  # noqa: E402
from rbr.scale import run_batches  # noqa: E402
from pipeline.profile import Scale  # noqa: E402


class Pinned:
    """A worker on a core that no other worker of its run has."""

    def __init__(self, claims: Path, model: Path, head: Path) -> None:
        import torch

        torch.set_num_threads(1)
        for core in sorted(os.sched_getaffinity(0)):
            try:
                (claims / str(core)).touch(exist_ok=False)
            except FileExistsError:
                continue
            os.sched_setaffinity(0, {core})
            break
        self.grader = HeadGrader(head, model, batch_size=8)

    def __call__(self, request: Request) -> tuple[float, int]:
        start = time.time()
        graded = self.grader.grade(request.conversations, request.completions)
        return start, len(graded)


def made(claims: str, model: str, head: str) -> Pinned:
    return Pinned(Path(claims), Path(model), Path(head))


def speed(make: Callable[[], Any], requests: list[Request], scale: Scale | None) -> float:
    """Rows a second."""
    starts, count = [], 0
    for _, (start, done) in run_batches(make, requests, scale):
        starts.append(start)
        count += done
    return count / (time.time() - min(starts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=384)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    own = rows(options.rows)
    own = own * (options.rows // len(own) + 1)
    requests = [
        Request(
            tuple(row.conversation for row in own[at : at + options.batch]),
            tuple(row.completion for row in own[at : at + options.batch]),
            (),
        )
        for at in range(0, options.rows, options.batch)
    ]
    model, cores = model_folder("smollm2"), os.sched_getaffinity(0)
    found: dict[str, list[float]] = {"in this process": [], "one worker": [], "two workers": []}
    keep = tempfile.TemporaryDirectory()
    head = Path(keep.name)
    random_head(model, head)
    for _ in range(options.turns):
        for (name, speeds), workers in zip(found.items(), (0, 1, 2), strict=True):
            with tempfile.TemporaryDirectory() as folder:
                make = partial(made, folder, str(model), str(head))
                scale = Scale(address="local", workers=workers) if workers else None
                speeds.append(speed(make, requests, scale))
                os.sched_setaffinity(0, cores)
                if workers:
                    import ray

                    ray.shutdown()
            print(f"{name:16} {speeds[-1]:7.2f} rows/s", flush=True)
    best = {name: statistics.median(speeds) for name, speeds in found.items()}
    print(f"two workers / one worker: {best['two workers'] / best['one worker']:.2f}")
    cost = 1 - best["one worker"] / best["in this process"]
    print(f"one worker is {cost:.1%} slower than this process")


if __name__ == "__main__":
    main()
