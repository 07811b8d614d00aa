"""The weight fit beside the published procedure, in one run on one synthetic set.

    python -m benchmarks.weights [--prompts 6700]

The published procedure (section 4.3 of the paper and its code, from our description of it): pairs by
testing all pairs of examples for the same prompt (quadratic: minutes at the default size), then 1,000
full-batch AdamW steps from zero, rate 0.01, decay 0.05. Ours: ``rbr.reward.weights``. Both are judged by
the same objective, the mean hinge plus l2 / 2 * |w|^2; as AdamW's decay is no L2 term, l2 is the strength
that suits AdamW's end point best (the one whose objective is stationary there along w). Ours runs at twice
the size too, each size in a process of its own, for growth and peak memory.
"""

from __future__ import annotations

import multiprocessing
import resource
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from rich.progress import track

from benchmarks.common import arguments, seconds
from rbr.reward.weights import Array, Pairs, fit_weights, make_pairs

LABELS = ("good", "worse", "worse", "worst")
RANKS = {"good": 0, "worse": 1, "worst": 2}
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


def ours(prompts: int, l2: float) -> dict[str, float]:
    """Seconds for pairs and for the fit (medians of 5), objective, duality gap, peak MiB of the process."""
    data = synthetic(prompts)
    pairs = make_pairs(data.names, data.labels, ORDERING)
    fit = fit_weights(data.phi, data.reward_model, pairs, l2)
    works = {
        "pairs": lambda: make_pairs(data.names, data.labels, ORDERING),
        "fit": lambda: fit_weights(data.phi, data.reward_model, pairs, l2),
    }
    medians = {name: median(seconds(work) for _ in range(5)) for name, work in works.items()}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**medians, "objective": fit.objective, "gap": fit.gap, "memory": memory}


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
    l2 = fair_l2(found["w"], data, pairs)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        own, double = pool.starmap(ours, [(prompts, l2), (2 * prompts, l2)], chunksize=1)
    print(f"{prompts} prompts x {len(LABELS)} x {FEATURES}, l2 {l2:.1e}")
    reached = objective(found["w"], data, pairs, l2)
    print(f"published: pairs {slow_pairs:.2f} s, fit {slow_fit:.2f} s, objective {reached:.6f}")
    for name, run in (("ours", own), ("ours, twice the prompts", double)):
        print(
            f"{name}: pairs {run['pairs']:.3f} s, fit {run['fit']:.3f} s, objective {run['objective']:.6f},"
            f" relative duality gap {run['gap']:.1e}, peak memory {run['memory']:.0f} MiB"
        )
    ratio = (slow_pairs + slow_fit) / (own["pairs"] + own["fit"])
    print(f"whole: {ratio:.0f} times as fast; fit alone: {slow_fit / own['fit']:.1f}")


if __name__ == "__main__":
    main()
