"""Gold rows: reading and checking what people wrote, and splitting it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.data.rows import Labelled
from rbr.errors import DataError, Place
from rbr.files import iter_json_lines, read_rows
from rbr.rules.yaml import suggest

if TYPE_CHECKING:
    from rbr.rules.rules import Rules

# (a, b): where a holds, b holds.
IMPLIES = (("fully_complies", "partially_complies"),)
# (a, b): never both.
EXCLUDES = (
    ("fully_complies", "inability_to_comply"),
    ("fully_complies", "illogical_continuation_of_prompt"),
)


def inconsistency(true: Sequence[str]) -> str | None:
    """What is inconsistent in a row's labels, or None."""
    held = set(true)
    for cause, effect in IMPLIES:
        if cause in held and effect not in held:
            return f"{cause} implies {effect}: add it or drop {cause}"
    for one, other in EXCLUDES:
        if one in held and other in held:
            return f"{one} and {other} cannot both hold: drop one"
    return None


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
    read_rows(folder, Labelled)
    known = rules.proposition_names
    for path in sorted(folder.glob("*.jsonl")):
        for line, row in iter_json_lines(path):
            place = Place(path, line)
            for name in row["true"]:
                if name not in known:
                    raise DataError(f"true: no proposition '{name}'; {suggest(name, known)}", place)
            if row["response_type"] not in rules.response_types:
                known_types = ", ".join(rules.response_types)
                message = f"response_type '{row['response_type']}' is not one of {known_types}"
                raise DataError(message, place)
            problem = inconsistency(row["true"])
            if problem:
                raise DataError(f"true: {problem}", place)
