"""Reading the written gold rows, and checking them against the rules."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.data.gold import inconsistency, split_gold
from rbr.data.rows import Labelled
from rbr.errors import DataError, Place
from rbr.files import iter_json_lines, read_folder

if TYPE_CHECKING:
    from rbr.rules.rules import Rules


def gold_rows(
    folder: Path, limit: int | None, heldout_fraction: float, seed: int
) -> tuple[list[Labelled], list[Labelled]]:
    """The rows of a folder, at most about ``limit``: train and held-out."""
    rows = read_folder(folder, Labelled)
    if limit:
        rows = rows[:: max(1, len(rows) // limit)]
    return split_gold(rows, heldout_fraction, seed)


def check_gold(folder: Path, rules: Rules) -> None:
    """Check that the labels are propositions of the rules and do not contradict each other.

    Raises:
        DataError: naming the file and line of the first row at fault.
    """
    known = set(rules.proposition_names)
    for path in sorted(folder.glob("*.jsonl")):
        for line, row in iter_json_lines(path):
            problem = _problem(row["true"], row["response_type"], known, rules.response_types)
            if problem:
                raise DataError(problem, Place(path, line))


def _problem(
    true: list[str], response_type: str, known: set[str], response_types: tuple[str, ...]
) -> str | None:
    for name in true:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean '{close[0]}'?" if close else "see rules/propositions"
            return f"true: no proposition '{name}'; {hint}"
    if response_type not in response_types:
        return f"response_type '{response_type}' is not one of {', '.join(response_types)}"
    found = inconsistency(true)
    return f"true: {found}" if found else None
