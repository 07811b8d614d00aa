"""Gold rows: reading and checking what people wrote, and splitting it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.data.rows import Labelled
from rbr.errors import DataError
from rbr.files import placed_rows, read_rows
from rbr.rules.yaml import suggest

if TYPE_CHECKING:
    from rbr.rules.rules import Rules


def split_gold(
    rows: Sequence[Labelled], heldout_fraction: float, seed: int
) -> tuple[list[Labelled], list[Labelled]]:
    """Split gold rows; rows of one conversation stay together.

    Conversations go, rarest proposition first, to the side that lacks it most for its share, so that
    rare propositions have support on both sides.

    Returns:
        Train and held-out rows.
    """
    groups: dict[str, list[Labelled]] = {}
    for row in rows:
        groups.setdefault(row.conversation[0].content.strip().lower(), []).append(row)
    support = Counter(name for row in rows for name in row.true)

    def rarest(members: list[Labelled]) -> tuple[int, str]:
        return (
            min((support[name] for row in members for name in row.true), default=len(rows)),
            str((seed, members[0].id)),
        )

    sides: tuple[list[Labelled], list[Labelled]] = ([], [])
    have = (Counter[str](), Counter[str]())
    fractions = (1 - heldout_fraction, heldout_fraction)
    for members in sorted(groups.values(), key=rarest):
        names = Counter(name for row in members for name in row.true)
        need = [
            sum(fractions[side] - have[side][n] / support[n] for n in names) / max(1, len(names))
            + fractions[side]
            - len(sides[side]) / len(rows)
            for side in (0, 1)
        ]
        # Relative to the side's size, so that the smaller side is filled as evenly as the larger.
        side = 0 if need[0] / fractions[0] >= need[1] / fractions[1] else 1
        sides[side].extend(members)
        have[side].update(names)
    return sides


def gold_rows(
    folder: Path, limit: int | None, heldout_fraction: float, seed: int
) -> tuple[list[Labelled], list[Labelled]]:
    """The rows of a folder, at most about ``limit``: train and held-out."""
    rows = read_rows(folder, Labelled)
    if limit:
        rows = rows[:: max(1, len(rows) // limit)]
    return split_gold(rows, heldout_fraction, seed)


def check_gold(folder: Path, rules: Rules) -> None:
    """Check the form of the rows, and that labels are known and do not contradict each other.

    Raises:
        DataError: naming the file and line of the first row at fault.
    """
    for error in gold_errors(folder, rules):
        raise error


def gold_errors(folder: Path, rules: Rules) -> Iterator[DataError]:
    """The rows that do not fit the rules, by file and line.

    Raises:
        DataError: on the first row that is not of the format.
    """
    for place, row in placed_rows(folder, Labelled):
        known: Sequence[str] = rules.proposition_names
        for name in row.true:
            if name not in known:
                yield DataError(f"true: no proposition '{name}'; {suggest(name, known)}", place)
        known = rules.response_types
        if row.response_type not in known:
            hint = suggest(row.response_type, known)
            yield DataError(f"no response type '{row.response_type}'; {hint}", place)
        problem = rules.relations.contradiction(row.true)
        if problem:
            yield DataError(f"true: {problem}", place)
