"""The ``head`` engine: logistic heads, one a proposition, on the pooled states of a tuned backbone.

The cheapest grader: one pass of a few layers grades all propositions of a completion. The reward's
grader and the evaluation's judge are both of this type, on different backbones and rows. Their
probabilities are calibrated (Platt 1999) and thresholds chosen on rows that neither heads nor backbone
were fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from rbr.errors import DataError
from rbr.files import files_digest, read_json, write_json
from rbr.grading.base import Array, Conversation, Probabilities, Progress
from rbr.grading.calibration import calibrations, decision_threshold, sigmoid
from rbr.grading.consistency import consistent
from rbr.grading.encoder import PairEncoder
from rbr.rules.models import UNRELATED, Relations

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

    def save(self, folder: Path, extra: dict[str, object]) -> None:
        """Write ``head.safetensors`` and, with what else is known, ``head.json`` into a folder."""
        from safetensors.numpy import save_file

        arrays = {n: np.ascontiguousarray(getattr(self, n), dtype=np.float32) for n in ARRAYS}
        save_file(arrays, str(folder / "head.safetensors"))
        write_json(folder / "head.json", {"propositions": list(self.propositions), **extra})

    @classmethod
    def load(cls, folder: Path) -> Heads:
        """Read what ``save`` wrote.

        Raises:
            DataError: if there are no heads of this version.
        """
        from safetensors.numpy import load_file

        try:
            arrays = load_file(str(folder / "head.safetensors"))
        except FileNotFoundError as error:
            raise DataError("no fitted grader here: make the artifact first", folder) from error
        if set(arrays) != set(ARRAYS):
            different = ", ".join(sorted(set(arrays) ^ set(ARRAYS)))
            raise DataError(
                f"fitted by another version ({different}): make the artifact again", folder
            )
        return cls(
            propositions=tuple(read_json(folder / "head.json")["propositions"]),
            **{name: value.astype(np.float64) for name, value in arrays.items()},
        )


def calibrated(
    weight: Array,
    bias: Array,
    features: Array,
    labels: Array,
    propositions: Sequence[str],
    balance: float = 0.0,
    relations: Relations = UNRELATED,
) -> Heads:
    """Heads whose calibration and thresholds fit these rows.

    Args:
        weight, bias: of the heads, (propositions, features) and (propositions,).
        features: (n, features), of rows that the heads have not seen.
        labels: (n, propositions).
        balance: see ``platt``.
        relations: what the grades are reconciled by before the thresholds apply to them.
    """
    scores = features @ weight.T + bias
    slope, offset = calibrations(scores, labels, balance)
    p = consistent(sigmoid(scores * slope + offset), propositions, relations)
    threshold = [decision_threshold(own, target) for own, target in zip(p.T, labels.T, strict=True)]
    return Heads(tuple(propositions), weight, bias, slope, offset, np.array(threshold))


class HeadGrader:
    """A fitted ``head`` grader, as ``Grader`` asks; its backbone is loaded at the first use.

    Args:
        folder: of the heads and the tuned backbone.
        model_folder: the model that the backbone was tuned from, for its tokenizer.
    """

    def __init__(self, folder: Path, model_folder: Path | str, batch_size: int = 32) -> None:
        self.heads = Heads.load(folder)
        self.propositions = self.heads.propositions
        self.thresholds = self.heads.threshold
        self._folder, self._model_folder, self._batch_size = folder, model_folder, batch_size
        backbone = sorted((folder / "backbone").glob("*.safetensors"))
        self._identity = f"head:{files_digest([folder / 'head.safetensors', *backbone])}"

    @cached_property
    def encoder(self) -> PairEncoder:
        """The tuned backbone."""
        return PairEncoder(self._folder / "backbone", self._model_folder, self._batch_size)

    def load(self) -> None:
        """Load the model now, and fail now if it cannot be loaded."""
        _ = self.encoder

    def identity(self, proposition: str) -> str:
        """See ``Grader.identity``: all heads are fitted together and share one digest."""
        return self._identity

    def grade(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Probabilities:
        """See ``Grader.grade``."""
        p = self.heads.probabilities(self.encoder(conversations, completions, progress))
        names = self.propositions if propositions is None else propositions
        return p[:, [self.propositions.index(name) for name in names]]
