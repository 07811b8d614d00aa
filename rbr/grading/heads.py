"""Logistic heads: one per proposition, on frozen features, fitted together.

Regularisation is chosen per proposition by cross-validation over groups (all completions of a
conversation are in one fold), and the probabilities are calibrated on the out-of-fold scores
(Platt 1999).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rbr.errors import DataError
from rbr.grading.calibration import decision_threshold, platt, sigmoid
from rbr.grading.consistency import consistent

Array = NDArray[np.float64]
ARRAYS = ("weight", "bias", "mean", "scale", "slope", "offset", "threshold")


@dataclass(frozen=True)
class Heads:
    """Fitted heads.

    Attributes:
        weight: (propositions, features), on standardised features.
        bias: (propositions,)
        mean, scale: (features,), of the standardisation.
        slope, offset: (propositions,), of the calibration.
        threshold: (propositions,), the probability from which a proposition is said to hold. A
            calibrated probability of a rare proposition seldom reaches 0.5.
    """

    propositions: tuple[str, ...]
    weight: Array
    bias: Array
    mean: Array
    scale: Array
    slope: Array
    offset: Array
    threshold: Array
    regularisation: tuple[float, ...]

    def probabilities(self, features: Array) -> Array:
        """Probabilities of shape (n, propositions) from features of shape (n, features)."""
        scores = (features - self.mean) / self.scale @ self.weight.T + self.bias
        return sigmoid(scores * self.slope + self.offset)

    def grade(self, features: Array, propositions: Sequence[str] | None = None) -> Array:
        """Consistent probabilities of these propositions (all by default), as a grader gives them."""
        p = consistent(self.probabilities(features), self.propositions)
        names = self.propositions if propositions is None else propositions
        return p[:, [self.propositions.index(name) for name in names]]

    def save(self, folder: Path, extra: dict[str, object]) -> None:
        """Write ``head.safetensors`` and ``head.json`` into an existing folder."""
        from safetensors.numpy import save_file

        arrays = {n: np.ascontiguousarray(getattr(self, n), dtype=np.float32) for n in ARRAYS}
        save_file(arrays, str(folder / "head.safetensors"))
        about = {
            "propositions": list(self.propositions),
            "regularisation": list(self.regularisation),
            **extra,
        }
        (folder / "head.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path) -> tuple[Heads, dict[str, object]]:
        """Read what ``save`` wrote; returns the heads and ``extra``."""
        from safetensors.numpy import load_file

        try:
            about = json.loads((folder / "head.json").read_text())
            arrays = load_file(str(folder / "head.safetensors"))
        except FileNotFoundError as error:
            raise DataError("no fitted grader here: make the artifact first", folder) from error
        if set(arrays) != set(ARRAYS):
            odd = ", ".join(sorted(set(arrays) ^ set(ARRAYS)))
            raise DataError(f"fitted by another version ({odd}): make the artifact again", folder)
        return (
            cls(
                propositions=tuple(about.pop("propositions")),
                regularisation=tuple(about.pop("regularisation")),
                **{name: value.astype(np.float64) for name, value in arrays.items()},
            ),
            about,
        )


def _solve(x: Array, y: Array, sample_weight: Array, strengths: Array) -> tuple[Array, Array]:
    """Weighted logistic regressions, all propositions at once; L2 strength per proposition.

    The problems are separate and convex; L-BFGS on their sum solves each.
    """
    import torch

    features = torch.as_tensor(x, dtype=torch.float32)
    target = torch.as_tensor(y, dtype=torch.float32)
    weights = torch.as_tensor(sample_weight, dtype=torch.float32)
    strength = torch.as_tensor(strengths, dtype=torch.float32)
    weight = torch.zeros(y.shape[1], x.shape[1], requires_grad=True)
    bias = torch.zeros(y.shape[1], requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=150, history_size=20, line_search_fn="strong_wolfe"
    )

    def objective() -> torch.Tensor:
        solver.zero_grad()
        scores = features @ weight.T + bias
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            scores, target, reduction="none"
        )
        value = (loss * weights).sum(0).div(weights.sum(0).clamp(min=1e-9)).sum()
        value = value + 0.5 * (strength.unsqueeze(1) * weight.square()).sum()
        value.backward()
        return value

    solver.step(objective)  # type: ignore[arg-type]
    return weight.detach().double().numpy(), bias.detach().double().numpy()


def fit_heads(
    features: Array,
    labels: Array,
    groups: Sequence[str],
    propositions: Sequence[str],
    strengths: Sequence[float],
    sample_weight: Array | None = None,
    calibrate_on: NDArray[np.bool_] | None = None,
    folds: int = 4,
    balance: float = 0.0,
) -> Heads:
    """Fit the heads.

    Args:
        features: (n, d).
        labels: (n, propositions), 0 or 1.
        groups: n names; rows of one group are in one fold.
        strengths: L2 strengths to choose among, on standardised features.
        sample_weight: (n,) or (n, propositions), 1 by default; a proposition is not fitted on rows of
            weight 0.
        calibrate_on: rows by which strength and calibration are chosen (the human-labelled ones);
            all by default.
        balance: see ``platt``.
    """
    from sklearn.model_selection import GroupKFold

    n, count = labels.shape
    weights = np.ones((n, count))
    if sample_weight is not None:
        weights = weights * (sample_weight if sample_weight.ndim == 2 else sample_weight[:, None])
    chosen_rows = np.ones(n, dtype=bool) if calibrate_on is None else calibrate_on
    mean, scale = features.mean(0), features.std(0) + 1e-6
    x = (features - mean) / scale / np.sqrt(features.shape[1])
    out_of_fold = np.zeros((len(strengths), n, count))
    folds = min(folds, len(set(groups)))
    for inside, outside in GroupKFold(folds).split(x, groups=list(groups)):
        for k, strength in enumerate(strengths):
            w, b = _solve(x[inside], labels[inside], weights[inside], np.full(count, strength))
            out_of_fold[k, outside] = x[outside] @ w.T + b
    losses = np.logaddexp(0, out_of_fold) - labels * out_of_fold
    weighted = (losses * weights)[:, chosen_rows].sum(1)
    best = weighted.argmin(0)
    chosen = np.array([strengths[k] for k in best])
    weight, bias = _solve(x, labels, weights, chosen)
    held = out_of_fold[best, :, np.arange(count)].T[chosen_rows]
    known, counted = labels[chosen_rows], weights[chosen_rows]
    calibration = [platt(held[:, j], known[:, j], counted[:, j], balance) for j in range(count)]
    slope, offset = np.array([c[0] for c in calibration]), np.array([c[1] for c in calibration])
    p = consistent(sigmoid(held * slope + offset), propositions)
    return Heads(
        propositions=tuple(propositions),
        weight=weight / np.sqrt(features.shape[1]),
        bias=bias,
        mean=mean,
        scale=scale,
        slope=slope,
        offset=offset,
        threshold=np.array(
            [decision_threshold(p[:, j], known[:, j], counted[:, j]) for j in range(count)]
        ),
        regularisation=tuple(float(c) for c in chosen),
    )
