"""Agreement of two people's labels: Cohen's kappa per proposition (Cohen 1960)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rbr.data.rows import Labelled
from rbr.errors import DataError


def kappa(one: Sequence[bool], other: Sequence[bool]) -> float:
    """Agreement above chance, at most 1; 1 where both always give the same one label.

    Raises:
        DataError: if the two differ in length or are empty.
    """
    from sklearn.metrics import cohen_kappa_score

    if not one or len(one) != len(other):
        raise DataError(
            f"two labellings of the same rows are needed, got {len(one)} and {len(other)}"
        )
    if len({*one, *other}) == 1:
        return 1.0  # undefined: chance agreement is complete
    return float(cohen_kappa_score(one, other))


def agreement(
    one: Sequence[Labelled], other: Sequence[Labelled], propositions: Sequence[str]
) -> list[dict[str, Any]]:
    """A row per proposition, over the rows that both labelled (by id).

    Returns:
        Rows of ``proposition, rows, agreement, kappa``.

    Raises:
        DataError: if they have no row in common.
    """
    theirs = {row.id: row for row in other}
    both = [(row, theirs[row.id]) for row in one if row.id in theirs]
    if not both:
        raise DataError("the two files have no row (id) in common")
    table = []
    for name in propositions:
        a, b = ([name in row.true for row in rows] for rows in zip(*both, strict=True))
        equal = sum(x == y for x, y in zip(a, b, strict=True)) / len(both)
        table.append(
            {"proposition": name, "rows": len(both), "agreement": equal, "kappa": kappa(a, b)}
        )
    return table
