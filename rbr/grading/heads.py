"""Logistic heads: one per proposition, on the pooled states of a tuned backbone.

Their probabilities are calibrated (Platt 1999) and thresholds chosen on rows that neither heads nor
backbone were fitted on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rbr.errors import DataError
from rbr.grading.calibration import calibrations, decision_threshold, sigmoid
from rbr.grading.consistency import consistent

Array = NDArray[np.float64]
ARRAYS = ("weight", "bias", "slope", "offset", "threshold")


@dataclass(frozen=True)
class Heads:
    """Fitted heads.

    Attributes:
        weight: (propositions, features)
        bias: (propositions,)
        slope, offset: (propositions,), of the calibration.
        threshold: (propositions,), the probability from which a proposition holds. A
            calibrated probability of a rare proposition seldom reaches 0.5.
    """

    propositions: tuple[str, ...]
    weight: Array
    bias: Array
    slope: Array
    offset: Array
    threshold: Array

    def probabilities(self, features: Array) -> Array:
        """Probabilities of shape (n, propositions) from features of shape (n, features)."""
        scores = features @ self.weight.T + self.bias
        return sigmoid(scores * self.slope + self.offset)

    def grade(self, features: Array, propositions: Sequence[str] | None = None) -> Array:
        """Consistent probabilities of these propositions (all by default), as a grader returns them."""
        p = consistent(self.probabilities(features), self.propositions)
        names = self.propositions if propositions is None else propositions
        return p[:, [self.propositions.index(name) for name in names]]

    def save(self, folder: Path, extra: dict[str, object]) -> None:
        """Write ``head.safetensors`` and ``head.json`` into an existing folder."""
        from safetensors.numpy import save_file

        arrays = {n: np.ascontiguousarray(getattr(self, n), dtype=np.float32) for n in ARRAYS}
        save_file(arrays, str(folder / "head.safetensors"))
        about = {"propositions": list(self.propositions), **extra}
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
            different = ", ".join(sorted(set(arrays) ^ set(ARRAYS)))
            raise DataError(
                f"fitted by another version ({different}): make the artifact again", folder
            )
        return (
            cls(
                propositions=tuple(about.pop("propositions")),
                **{name: value.astype(np.float64) for name, value in arrays.items()},
            ),
            about,
        )


def calibrated(
    weight: Array,
    bias: Array,
    features: Array,
    labels: Array,
    label_weights: Array,
    propositions: Sequence[str],
    balance: float = 0.0,
) -> Heads:
    """Heads whose calibration and thresholds fit these rows.

    Args:
        weight, bias: of the heads, (propositions, features) and (propositions,).
        features: (n, features), of rows that the heads have not seen.
        labels, label_weights: (n, propositions); a proposition is not calibrated on rows of weight 0.
        balance: see ``platt``.
    """
    scores = features @ weight.T + bias
    slope, offset = calibrations(scores, labels, label_weights, balance)
    p = consistent(sigmoid(scores * slope + offset), propositions)
    threshold = [
        decision_threshold(p[:, j], labels[:, j], label_weights[:, j]) for j in range(p.shape[1])
    ]
    return Heads(tuple(propositions), weight, bias, slope, offset, np.array(threshold))
