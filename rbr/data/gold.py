"""Gold rows: reading and checking what people wrote, and splitting it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from rbr.data.rows import Labelled
from rbr.errors import DataError, Place
from rbr.files import checked_rows, placed_rows, read_rows
from rbr.options import Options
from rbr.rules.yaml import suggest

if TYPE_CHECKING:
    from rbr.rules.rules import Rules

# What a row is for: the reward's grader and the judge learn from different ones, and are both measured
# on those that neither saw.
LEARNING = ("grader", "judge")
ROLES = (*LEARNING, "heldout")


class GoldOptions(Options):
    """Split of the gold rows by ``ROLES``; what the fractions leave is the grader's."""

    judge_fraction: float = Field(0.35, gt=0, lt=1)
    heldout_fraction: float = Field(0.25, gt=0, lt=1)
    limit: int | None = None

    def fractions(self) -> dict[str, float]:
        """The share of the rows that each role has."""
        rest = 1 - self.judge_fraction - self.heldout_fraction
        return dict(zip(ROLES, (rest, self.judge_fraction, self.heldout_fraction), strict=True))

    @model_validator(mode="after")
    def _leave_some(self) -> GoldOptions:
        if self.judge_fraction + self.heldout_fraction >= 1:
            raise ValueError("judge_fraction and heldout_fraction leave no rows for the grader")
        return self


def first_turn(row: Labelled) -> str:
    """The first thing that the user says: a system turn may stand before all conversations alike."""
    return next(turn.content for turn in row.conversation if turn.role == "user")


def split_gold(
    rows: Sequence[Labelled], options: GoldOptions, seed: int
) -> dict[str, list[Labelled]]:
    """Split gold rows by ``ROLES``; rows of one conversation stay together.

    Conversations go, rarest proposition first, to the role that lacks it most for its share, so that
    rare propositions have support in all.
    """
    groups: dict[str, list[Labelled]] = {}
    for row in rows:
        groups.setdefault(first_turn(row).strip().lower(), []).append(row)
    support = Counter(name for row in rows for name in row.true)

    def rarest(members: list[Labelled]) -> tuple[int, str]:
        return (
            min((support[name] for row in members for name in row.true), default=len(rows)),
            str((seed, members[0].id)),
        )

    fractions = options.fractions()
    split: dict[str, list[Labelled]] = {role: [] for role in fractions}
    have = {role: Counter[str]() for role in fractions}
    for members in sorted(groups.values(), key=rarest):
        names = Counter(name for row in members for name in row.true)

        def need(role: str, names: Counter[str] = names) -> float:
            # Relative to the role's share, so that the smaller is filled as evenly as the larger.
            share = fractions[role]
            lacking = sum(1 - have[role][n] / support[n] / share for n in names)
            return lacking / max(1, len(names)) + 1 - len(split[role]) / len(rows) / share

        role = max(fractions, key=need)
        split[role].extend(members)
        have[role].update(names)
    return split


def gold_rows(folder: Path, options: GoldOptions, seed: int) -> dict[str, list[Labelled]]:
    """The rows of a folder, at most about ``options.limit``, by ``ROLES``."""
    rows = read_rows(folder, Labelled)
    if options.limit:
        rows = rows[:: max(1, len(rows) // options.limit)]
    return split_gold(rows, options, seed)


def labelled_rows(path: Path, rules: Rules) -> list[Labelled]:
    """The rows of a file or folder, which may be at work and contradict each other.

    Raises:
        DataError: naming the line of the first one that is not of the format, or has a name that the rules
            do not have.
    """
    rows = placed_rows(path, Labelled)
    for place, row in rows:
        for error in _unknown_names(place, row, rules):
            raise error
    return [row for _, row in rows]


def _unknown_names(place: Place, row: Labelled, rules: Rules) -> Iterator[DataError]:
    for name in sorted({*row.true} - rules.propositions.keys()):
        hint = suggest(name, rules.propositions)
        yield DataError(f"true: no proposition '{name}'; {hint}", place)
    if row.response_type not in rules.types:
        hint = suggest(row.response_type, rules.types)
        yield DataError(f"no response type '{row.response_type}'; {hint}", place)


def check_gold(folder: Path, rules: Rules) -> None:
    """Check the form of the rows, and that labels are known and do not contradict each other.

    Raises:
        DataError: naming the file and line of the first row at fault.
    """
    for error in gold_errors(folder, rules):
        raise error


def gold_errors(
    folder: Path, rules: Rules, sound: list[Labelled] | None = None
) -> Iterator[DataError]:
    """The rows that are not of the format or do not fit the rules, by file and line.

    Args:
        sound: receives the rows that are of the format.

    Raises:
        DataError: on a folder without rows.
    """
    for place, row in checked_rows(folder, Labelled):
        if isinstance(row, DataError):
            yield row
            continue
        if sound is not None:
            sound.append(row)
        yield from _unknown_names(place, row, rules)
        problem = rules.relations.contradiction(row.true)
        if problem:
            yield DataError(f"true: {problem}", place)
