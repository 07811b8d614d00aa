"""The weight fit beside the published procedure, in one run on one synthetic set.

    python -m benchmarks.weights [--prompts 6700]

The published procedure (section 4.3 of the paper and its code, from our description of it): pairs by
testing all pairs of examples for the same prompt (quadratic: minutes at the default size), then 1,000
full-batch AdamW steps from zero, rate 0.01, decay 0.05. Ours: ``rbr.reward.weights``. Both are judged by
the same objective, the mean hinge plus l2 / 2 * |w|^2; as AdamW's decay is no L2 term, l2 is the strength
that suits AdamW's end point best (the one whose objective is stationary there along w). Then ours at four
sizes, each in a process of its own, for growth and peak memory.
"""

from __future__ import annotations

import multiprocessing
import resource
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.common import arguments, seconds
from rbr.reward.weights import Array, Pairs, fit_weights, make_pairs

LABELS = ("ideal", "bad", "bad", "disallowed")
RANKS = {"ideal": 0, "bad": 1, "disallowed": 2}
ORDERING = tuple((label,) for label in RANKS)
FEATURES, DECAY = 20, 0.05


class Comparisons(NamedTuple):
    """Synthetic completions, four per prompt: phi is (n, 20) in [0, 1], R_rm is (n,)."""

    names: list[str]
    labels: list[str]
    phi: Array
    reward_model: Array


def synthetic(prompts: int) -> Comparisons:
    """Grades are noisy readings of what the label makes true.

    R_rm prefers, as a helpful-only reward does, the disallowed answer.
    """
    random = np.random.default_rng(0)
    names = [f"p{i}" for i in range(prompts) for _ in LABELS]
    labels = list(LABELS) * prompts
    means = random.random((len(RANKS), FEATURES))
    rank = np.array([RANKS[label] for label in labels])
    scores = 3.0 * (means[rank] - 0.5) + random.normal(size=(len(labels), FEATURES))
    reward_model = 0.8 * rank + random.normal(size=len(labels))
    return Comparisons(names, labels, 1.0 / (1.0 + np.exp(-scores)), reward_model)


def objective(w: Array, data: Comparisons, pairs: Pairs, l2: float) -> float:
    """Mean hinge and L2 term."""
    total = data.reward_model + data.phi @ w
    gap = pairs.margin - (total[pairs.better] - total[pairs.worse])
    return float(np.maximum(0.0, gap).mean() + 0.5 * l2 * w @ w)


def fair_l2(w: Array, data: Comparisons, pairs: Pairs) -> float:
    """The L2 strength for which w is no longer or shorter than it should be."""
    total = data.reward_model + data.phi @ w
    missing = pairs.margin > total[pairs.better] - total[pairs.worse]
    slope = -(data.phi[pairs.better] - data.phi[pairs.worse])[missing].sum(0) / len(pairs)
    return max(1e-6, float(-(slope @ w) / (w @ w)))


def published_pairs(data: Comparisons) -> list[tuple[int, int]]:
    """Every pair of examples is tested: quadratic in the number of prompts."""
    names, ranks = data.names, [RANKS[label] for label in data.labels]
    found = []
    for i in track(range(len(names)), "testing all pairs", transient=True):
        name, rank = names[i], ranks[i]
        for j in range(len(names)):
            if names[j] == name and ranks[j] > rank:
                found.append((i, j))
    return found


def published_fit(data: Comparisons, pairs: list[tuple[int, int]]) -> Array:
    """1,000 full-batch steps of AdamW."""
    phi = torch.as_tensor(data.phi, dtype=torch.float32)
    reward_model = torch.as_tensor(data.reward_model).float()
    better, worse = torch.tensor(pairs).T
    w = torch.zeros(phi.shape[1], requires_grad=True)
    optimizer = torch.optim.AdamW([w], lr=0.01, weight_decay=DECAY)
    for _ in track(range(1000), "AdamW", transient=True):
        optimizer.zero_grad()
        total = reward_model + phi @ w
        (1.0 + total[worse] - total[better]).clamp(min=0).mean().backward()
        optimizer.step()
    return w.detach().double().numpy()


class Ours(NamedTuple):
    """Seconds for pairs and for the fit, medians of 5; objective, duality gap, peak MiB of the process."""

    pairs: float
    fit: float
    objective: float
    gap: float
    memory: float


def ours(prompts: int, l2: float) -> Ours:
    """Measure our procedure."""
    names, labels, phi, reward_model = synthetic(prompts)
    pairs = make_pairs(names, labels, ORDERING)
    fit = fit_weights(phi, reward_model, pairs, l2)
    pairing = [seconds(lambda: make_pairs(names, labels, ORDERING)) for _ in range(5)]
    fitting = [seconds(lambda: fit_weights(phi, reward_model, pairs, l2)) for _ in range(5)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    medians = float(np.median(pairing)), float(np.median(fitting))
    return Ours(*medians, fit.objective, fit.gap, peak)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--prompts", type=int, default=6700)
    prompts = parser.parse_args().prompts
    data, found = synthetic(prompts), {}
    slow_pairs = seconds(lambda: found.update(pairs=published_pairs(data)))
    pairs = make_pairs(data.names, data.labels, ORDERING)
    assert sorted(found["pairs"]) == sorted(
        zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True)
    )
    slow_fit = seconds(lambda: found.update(w=published_fit(data, found["pairs"])))
    published = found["w"]
    l2 = fair_l2(published, data, pairs)
    sizes = [max(1, prompts // 4), max(1, prompts // 2), prompts, 2 * prompts]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        measured = pool.starmap(ours, [(size, l2) for size in sizes], chunksize=1)
    own = measured[2]
    title = f"{prompts} prompts x {len(LABELS)} x {FEATURES}"
    table = Table("", "pairs, s", "fit, s", f"objective, l2 {l2:.1e}", title=title)
    reached = objective(published, data, pairs, l2)
    table.add_row("published", f"{slow_pairs:.1f}", f"{slow_fit:.2f}", f"{reached:.6f}")
    table.add_row(
        "rbr.reward.weights", f"{own.pairs:.3f}", f"{own.fit:.3f}", f"{own.objective:.6f}"
    )
    console = Console()
    console.print(table)
    ratio, fit_ratio = (slow_pairs + slow_fit) / (own.pairs + own.fit), slow_fit / own.fit
    console.print(f"whole: {ratio:.0f} times as fast; fit alone: {fit_ratio:.1f}")
    console.print(f"relative duality gap: {own.gap:.1e}; peak memory {own.memory:.0f} MiB")
    growth = Table("prompts", "seconds", "seconds per 1,000 prompts", "MiB")
    for size, other in zip(sizes, measured, strict=True):
        total = other.pairs + other.fit
        growth.add_row(
            str(size), f"{total:.3f}", f"{1000 * total / size:.4f}", f"{other.memory:.0f}"
        )
    console.print(growth)


if __name__ == "__main__":
    main()
