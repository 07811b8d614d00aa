"""The weight fit beside the published procedure, in one run on one synthetic set.

    python benchmarks/weights.py [--prompts 6700] [--share 1.0]

The published procedure (section 4.3 of the paper and its code, from our description of it): pairs by
testing all pairs of examples for the same prompt, then 1,000 full-batch AdamW steps from zero, rate
0.01, decay 0.05. Ours: ``rbr.reward.weights``. Both are judged by the same objective, the mean hinge plus
l2 / 2 * |w|^2; as AdamW's decay is no L2 term, l2 is the strength that suits AdamW's end point best (the
one whose objective is stationary there along w). With ``--share`` below 1 the slow side's pair search runs on that share of the prompts
and is scaled by its square; the output says so. Then ours at four sizes, each in a process of its own,
for growth and peak memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rbr.reward.weights import Array, Pairs, fit_weights, make_pairs

LABELS = ("ideal", "bad", "bad", "disallowed")
ORDERING = (("ideal",), ("bad",), ("disallowed",))
FEATURES, DECAY = 20, 0.05
Data = tuple[list[str], list[str], Array, Array]


def synthetic(prompts: int, seed: int = 0) -> Data:
    """Prompts, labels, features (n, 20) in [0, 1] and R_rm (n,) of 4 completions a prompt.

    Grades are noisy readings of what the label makes true; R_rm prefers, as a helpful-only reward
    does, the disallowed answer.
    """
    random = np.random.default_rng(seed)
    names = [f"p{i}" for i in range(prompts) for _ in LABELS]
    labels = list(LABELS) * prompts
    means = random.random((3, FEATURES))
    kind = np.array([ORDERING.index((label,)) for label in labels])
    scores = 3.0 * (means[kind] - 0.5) + random.normal(size=(len(labels), FEATURES))
    phi = 1.0 / (1.0 + np.exp(-scores))
    reward_model = 0.8 * kind + random.normal(size=len(labels))
    return names, labels, phi, reward_model


def objective(w: Array, phi: Array, reward_model: Array, pairs: Pairs, l2: float) -> float:
    total = reward_model + phi @ w
    gap = pairs.margin - (total[pairs.better] - total[pairs.worse])
    return float(np.maximum(0.0, gap).mean() + 0.5 * l2 * w @ w)


def fair_l2(w: Array, phi: Array, reward_model: Array, pairs: Pairs) -> float:
    """The L2 strength for which w is no longer or shorter than it should be."""
    total = reward_model + phi @ w
    missing = pairs.margin > total[pairs.better] - total[pairs.worse]
    slope = -(phi[pairs.better] - phi[pairs.worse])[missing].sum(0) / len(pairs)
    return max(1e-6, float(-(slope @ w) / (w @ w)))


def all_pairs(names: list[str], labels: list[str]) -> list[tuple[int, int]]:
    """Every pair of examples is tested: quadratic in the number of prompts."""
    rank = {"ideal": 0, "bad": 1, "disallowed": 2}
    ranks = [rank[label] for label in labels]
    found = []
    for i in track(range(len(names)), "testing all pairs", transient=True):
        name, own = names[i], ranks[i]
        for j in range(len(names)):
            if names[j] == name and ranks[j] > own:
                found.append((i, j))
    return found


def adamw(phi: Array, reward_model: Array, pairs: list[tuple[int, int]]) -> Array:
    """1,000 full-batch steps."""
    x, rm = torch.as_tensor(phi, dtype=torch.float32), torch.as_tensor(reward_model).float()
    better, worse = torch.tensor(pairs).T
    w = torch.zeros(x.shape[1], requires_grad=True)
    optimizer = torch.optim.AdamW([w], lr=0.01, weight_decay=DECAY)
    for _ in track(range(1000), "AdamW", transient=True):
        optimizer.zero_grad()
        total = rm + x @ w
        (1.0 + total[worse] - total[better]).clamp(min=0).mean().backward()
        optimizer.step()
    return w.detach().double().numpy()


def ours(prompts: int, l2: float) -> tuple[float, float, float, float, float]:
    """Seconds for pairs and for the fit (medians of 5), objective, certificate, peak MiB of the process."""
    names, labels, phi, reward_model = synthetic(prompts)
    runs = []
    for _ in range(5):
        start = time.perf_counter()
        pairs = make_pairs(names, labels, ORDERING)
        middle = time.perf_counter()
        fit = fit_weights(phi, reward_model, pairs, l2)
        runs.append((middle - start, time.perf_counter() - middle))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        float(np.median([a for a, _ in runs])),
        float(np.median([b for _, b in runs])),
        fit.objective,
        fit.gap,
        peak,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=6700)
    parser.add_argument("--share", type=float, default=1.0)
    options = parser.parse_args()
    console = Console()
    names, labels, phi, reward_model = synthetic(options.prompts)
    part = 4 * round(options.prompts * options.share)
    start = time.perf_counter()
    tested = all_pairs(names[:part], labels[:part])
    slow_pairs = (time.perf_counter() - start) * (len(names) / part) ** 2
    pairs = make_pairs(names, labels, ORDERING)
    if part == len(names):
        assert sorted(tested) == sorted(
            zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True)
        )
    start = time.perf_counter()
    published = adamw(
        phi, reward_model, list(zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True))
    )
    slow_fit = time.perf_counter() - start
    l2 = fair_l2(published, phi, reward_model, pairs)
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(1, maxtasksperchild=1) as pool:
        sizes = [options.prompts // 4, options.prompts // 2, options.prompts, 2 * options.prompts]
        results = dict(
            zip(sizes, pool.starmap(ours, [(n, l2) for n in sizes], chunksize=1), strict=True)
        )
    pair_seconds, fit_seconds, reached, gap, peak = results[options.prompts]
    table = Table(
        "",
        "pairs, s",
        "fit, s",
        f"objective, l2 {l2:.1e}",
        title=f"{options.prompts} prompts x 4 x {FEATURES}",
    )
    scaled = "" if part == len(names) else f" (from {part // 4} prompts, times the square)"
    table.add_row(
        "published",
        f"{slow_pairs:.1f}{scaled}",
        f"{slow_fit:.2f}",
        f"{objective(published, phi, reward_model, pairs, l2):.6f}",
    )
    table.add_row("rbr.reward.weights", f"{pair_seconds:.3f}", f"{fit_seconds:.3f}", f"{reached:.6f}")
    console.print(table)
    quick = pair_seconds + fit_seconds
    console.print(
        f"whole: {(slow_pairs + slow_fit) / quick:.0f} times as fast; fit alone: {slow_fit / fit_seconds:.1f}"
    )
    console.print(f"certificate (relative duality gap): {gap:.1e}; peak memory {peak:.0f} MiB")
    growth = Table("prompts", "seconds", "seconds per 1,000 prompts", "MiB")
    for size, (a, b, _, _, memory) in results.items():
        growth.add_row(str(size), f"{a + b:.3f}", f"{1000 * (a + b) / size:.4f}", f"{memory:.0f}")
    console.print(growth)


if __name__ == "__main__":
    main()
