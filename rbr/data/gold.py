"""Gold rows: reading and checking what people wrote, and splitting it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from rbr.data.rows import Labelled
from rbr.errors import DataError, Place
from rbr.files import iter_json_lines, read_rows
from rbr.options import Options
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


# What a row is for: the reward's grader and the judge learn from different ones, and are both measured
# on those that neither saw.
ROLES = ("grader", "judge", "heldout")


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
    rows: Sequence[Labelled], options: GoldOptions, seed: int
) -> dict[str, list[Labelled]]:
    """Split gold rows by ``ROLES``; rows of one conversation stay together.

    Conversations go, rarest proposition first, to the role that lacks it most for its share, so that
    rare propositions have support in all.
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
