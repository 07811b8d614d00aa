"""Agreement of two people's labels: Cohen's kappa per proposition (Cohen 1960)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rbr.data.rows import Labelled
from rbr.errors import DataError


def kappa(one: Sequence[bool], other: Sequence[bool]) -> float:
    """Agreement above chance, at most 1; 1 where both always say the same one thing.

    Raises:
        DataError: if the two differ in length or are empty.
    """
    if not one or len(one) != len(other):
        raise DataError(
            f"two labellings of the same rows are needed, got {len(one)} and {len(other)}"
        )
    n = len(one)
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / n
    yes_one, yes_other = sum(one) / n, sum(other) / n
    chance = yes_one * yes_other + (1 - yes_one) * (1 - yes_other)
    return 1.0 if chance == 1 else (observed - chance) / (1 - chance)


def agreement(
    one: Sequence[Labelled], other: Sequence[Labelled], propositions: Sequence[str]
) -> list[dict[str, Any]]:
    """A row a proposition, over the rows that both labelled (by id).

    Returns:
        Rows of ``proposition, rows, agreement, kappa``.

    Raises:
        DataError: if they have no row in common.
    """
    theirs = {row.id: row for row in other}
    shared = [(row, theirs[row.id]) for row in one if row.id in theirs]
    if not shared:
        raise DataError("the two files have no row (id) in common")
    table = []
    for name in propositions:
        a = [name in left.true for left, _ in shared]
        b = [name in right.true for _, right in shared]
        same = sum(x == y for x, y in zip(a, b, strict=True)) / len(shared)
        table.append(
            {"proposition": name, "rows": len(shared), "agreement": same, "kappa": kappa(a, b)}
        )
    return table
