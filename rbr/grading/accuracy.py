"""How good a grader is, per proposition, on rows it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rbr.data.rows import Labelled, label_matrix
from rbr.data.wordings import composed_wordings
from rbr.grading.base import Array, Grader, Progress
from rbr.grading.calibration import calibration_error
from rbr.grading.consistency import decisions

if TYPE_CHECKING:
    from rbr.data.wordings import Wordings
    from rbr.rules.rules import Rules


def accuracy_table(
    probabilities: Array,
    labels: Array,
    propositions: Sequence[str],
    bootstrap: int = 1000,
    seed: int = 0,
    thresholds: Array | float = 0.5,
) -> list[dict[str, Any]]:
    """One row per proposition and a last one, ``mean``.

    Args:
        probabilities, labels: (n, propositions).
        thresholds: the probability from which a proposition holds, one or (propositions,).

    Returns:
        Rows with support, accuracy and its 95 % bootstrap interval over completions, majority class,
        balanced accuracy, F1, AUC (None where only one class is present) and calibration error.
    """
    from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

    n = len(labels)
    predicted = probabilities >= thresholds
    right = predicted == (labels > 0.5)
    draws = np.random.default_rng(seed).integers(0, n, (bootstrap, n))
    boot = np.stack([right[d].mean(0) for d in draws])
    rows: list[dict[str, Any]] = []
    for j, name in enumerate(propositions):
        y = labels[:, j] > 0.5
        both = bool(y.any() and (~y).any())
        low, high = np.quantile(boot[:, j], [0.025, 0.975])
        rows.append(
            {
                "proposition": name,
                "support": int(y.sum()),
                "accuracy": float(right[:, j].mean()),
                "low": float(low),
                "high": float(high),
                "majority": float(max(y.mean(), 1 - y.mean())),
                "balanced_accuracy": float(balanced_accuracy_score(y, predicted[:, j]))
                if both
                else None,
                "f1": float(f1_score(y, predicted[:, j], zero_division=0.0)),
                "auc": float(roc_auc_score(y, probabilities[:, j])) if both else None,
                "calibration_error": calibration_error(probabilities[:, j], labels[:, j]),
            }
        )
    low, high = np.quantile(boot.mean(1), [0.025, 0.975])
    mean: dict[str, Any] = {"proposition": "mean", "low": float(low), "high": float(high)}
    for key in [key for key in rows[0] if key not in mean]:
        values = [row[key] for row in rows if row[key] is not None]
        mean[key] = float(np.mean(values)) if values else None
    return [*rows, mean]


def accuracy_by_part(
    probabilities: Array,
    labels: Array,
    thresholds: Array | float,
    parts: Mapping[str, Sequence[bool]],
) -> list[dict[str, Any]]:
    """Means over propositions on parts of the rows.

    Args:
        probabilities, labels: (n, propositions).
        parts: name of a part -> whether a row is in it, (n,).

    Returns:
        A row per part with ``part``, ``rows`` and the means of ``accuracy_table``, None on no rows.
    """
    found = []
    for name, members in parts.items():
        inside = np.flatnonzero(np.asarray(members))
        mean: dict[str, Any] = {}
        if len(inside):
            names = [str(j) for j in range(labels.shape[1])]
            mean = accuracy_table(
                probabilities[inside], labels[inside], names, 200, thresholds=thresholds
            )[-1]
        keys = ("accuracy", "low", "high", "balanced_accuracy", "auc", "majority")
        found.append({"part": name, "rows": len(inside), **{key: mean.get(key) for key in keys}})
    return found


def parts_of(rows: Sequence[Labelled], wordings: Wordings) -> dict[str, list[bool]]:
    """Rows by the length of the completion, and those without a composed wording."""
    lengths = [len(row.completion) for row in rows]
    return {
        "under 200 characters": [length < 200 for length in lengths],
        "200 to 600 characters": [200 <= length <= 600 for length in lengths],
        "above 600 characters": [length > 600 for length in lengths],
        "no composed wording": [not wordings.in_text(row.completion) for row in rows],
    }


@dataclass(frozen=True)
class Measured:
    """A grader on labelled rows.

    Attributes:
        table: see ``accuracy_table``.
        parts: see ``accuracy_by_part``.
        probabilities: the grades, (rows, propositions).
    """

    table: list[dict[str, Any]]
    parts: list[dict[str, Any]]
    probabilities: Array


def measure(
    grader: Grader,
    rows: Sequence[Labelled],
    rules: Rules,
    bootstrap: int = 1000,
    progress: Progress | None = None,
) -> Measured:
    """Grade the rows and compare with their labels, at the grader's own thresholds."""
    probabilities = grader.grade(
        [row.conversation for row in rows], [row.completion for row in rows], progress
    )
    names = grader.propositions
    labels = label_matrix([row.true for row in rows], names)
    table = accuracy_table(probabilities, labels, names, bootstrap, thresholds=grader.thresholds)
    parts = parts_of(rows, composed_wordings(rules))
    by_part = accuracy_by_part(probabilities, labels, grader.thresholds, parts)
    return Measured(table, by_part, probabilities)


def decided(grader: Grader, probabilities: Array, rules: Rules) -> list[tuple[str, ...]]:
    """The propositions that hold of each row by the grader's own thresholds, relations kept."""
    names = grader.propositions
    held = decisions(probabilities, grader.thresholds, names, rules.relations)
    return [tuple(name for name, yes in zip(names, row, strict=True) if yes) for row in held]


def judge_accuracy(
    judge: Grader, rows: Sequence[Labelled], found: Measured, rules: Rules
) -> dict[str, float]:
    """How often a judge is right on held-out gold; reported beside each evaluation.

    Returns:
        ``accuracy`` (mean over propositions), and ``refusal_accuracy`` and ``disallowed_accuracy`` of the
        decisions that metrics count.
    """
    true = decided(judge, found.probabilities, rules)

    def right(role: str) -> float:
        pairs = zip(true, rows, strict=True)
        return float(np.mean([rules.means(role, t) == rules.means(role, r.true) for t, r in pairs]))

    return {
        "accuracy": float(found.table[-1]["accuracy"]),
        "refusal_accuracy": right("refused"),
        "disallowed_accuracy": right("disallowed"),
    }
