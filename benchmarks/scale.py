"""Grading on a Ray cluster of one and of two workers beside grading in this process, in one run.

    python -m benchmarks.scale [--rows 384] [--batch 16] [--turns 2] [--model smollm2]

The grader is a head of the laptop profile's shape (random heads: the cost is the same), one thread per
worker, each worker pinned to a core of its own. Prints rows per second, the ratio of two workers to one, and
what Ray costs at one worker beside this process. Counted from the first batch's start to the last
result's arrival: starting a cluster and loading models is not.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.common import arguments, longest_gold, model_folder, random_head, texts_of
from rbr.grading.base import Request
from rbr.grading.head import HeadGrader
from rbr.scale.batches import run_batches
from rbr.scale.options import ClusterOptions


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
        self.grader.load()

    def __call__(self, request: Request) -> tuple[float, int]:
        start = time.time()
        return start, len(self.grader.grade(request.conversations, request.completions))


def speed(head: Path, model: Path, requests: list[Request], workers: int) -> float:
    """Rows per second; 0 workers: in this process."""
    cores = os.sched_getaffinity(0)
    scale = ClusterOptions(address="local", workers=workers) if workers else None
    with tempfile.TemporaryDirectory() as claims:
        make = partial(Pinned, Path(claims), model, head)
        done = [result for _, result in run_batches(make, requests, scale)]
        end = time.time()
    os.sched_setaffinity(0, cores)
    if workers:
        import ray

        ray.shutdown()
    return sum(count for _, count in done) / (end - min(start for start, _ in done))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=384)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--model", default="smollm2", help="tiny, an embedded model, or a folder")
    options = parser.parse_args()
    rows = list(itertools.islice(itertools.cycle(longest_gold(options.rows)), options.rows))
    batches = [rows[at : at + options.batch] for at in range(0, len(rows), options.batch)]
    requests = [Request(*map(tuple, texts_of(batch)), ()) for batch in batches]  # type: ignore[arg-type]
    names = ("in this process", "one worker", "two workers")
    speeds: dict[str, list[float]] = {name: [] for name in names}
    model = model_folder(options.model)
    with tempfile.TemporaryDirectory() as folder:
        random_head(model, Path(folder))
        for _ in range(options.turns):
            for workers, name in enumerate(names):
                speeds[name].append(speed(Path(folder), model, requests, workers))
                print(f"{name:16} {speeds[name][-1]:7.2f} rows/s", flush=True)
    here, one, two = (statistics.median(speeds[name]) for name in names)
    print(f"two workers / one worker: {two / one:.2f}")
    print(f"one worker is {1 - one / here:.1%} slower than this process")


if __name__ == "__main__":
    main()
