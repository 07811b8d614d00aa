"""Preference sets that a reward is judged by: pairs, and RewardBench 2's best of four.

Formats: this project's preferences, HH-RLHF (Bai et al. 2022), PKU-SafeRLHF (Ji et al. 2024) and
RewardBench 2 (Malik et al. 2025). Any row may have a ``response_type`` too, and a ``subset``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rbr.data.importers import FORMATS, converted
from rbr.data.rows import Message, Preference, Ranked
from rbr.data.tables import read_table
from rbr.data.turns import read_conversation
from rbr.data.words import normalised
from rbr.errors import DataError, Place


def _words(conversation: Sequence[Message]) -> str:
    return " / ".join(normalised(turn.content) for turn in conversation)


def _text(value: Any, name: str) -> str | None:
    if value is None or value == "":  # CSV and hubs have columns that a row leaves empty
        return None
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be text: a name, or leave it out")
    return value.strip()


def preference(row: dict[str, Any], number: int, source_format: str | None = None) -> Ranked:
    """A pair: of a published format, or of this project's own."""
    response_type, subset = (_text(row.get(name), name) for name in ("response_type", "subset"))
    if source_format is not None:
        pair = FORMATS[source_format](row, number)
        assert isinstance(pair, Preference)
    else:
        own = {k: v for k, v in row.items() if k not in ("response_type", "subset")}
        pair = Preference.model_validate(own)
    return Ranked(
        id=pair.id,
        # Published sets say nothing of families: pairs on the same prompt are one.
        family=_words(pair.conversation) if source_format else pair.family,
        subset=subset or pair.source,
        conversation=pair.conversation,
        chosen=(pair.chosen,),
        rejected=(pair.rejected,),
        response_type=response_type,
    )


def rewardbench_2(row: dict[str, Any], number: int) -> Ranked:
    """Columns ``id, prompt, chosen, rejected, subset``; ids ``ref:N`` and ``tied:N`` in the subset Ties."""
    answers = {name: row[name] for name in ("chosen", "rejected")}
    for name, texts in answers.items():
        if not isinstance(texts, list | tuple) or not texts:
            raise ValueError(f"{name} must be a list of answers, at least one")
    conversation, subset = read_conversation(row["prompt"]), _text(row["subset"], "subset")
    if subset is None:
        raise ValueError("subset must be a name: Safety, Ties, ...")
    identity = str(row.get("id", number))
    family, tie = _words(conversation), None
    if subset.lower() == "ties":
        kind, _, group = identity.partition(":")
        tie = {"ref": "reference", "tied": "tied"}.get(kind)
        if tie is None or not group:
            raise ValueError(f"id '{identity}' of the subset Ties must be ref:N or tied:N")
        if tie == "reference" and len(answers["chosen"]) > 1:
            raise ValueError(f"'{identity}' is a reference: chosen must have one answer")
        family = f"ties {group}"
    response_type = _text(row.get("response_type"), "response_type")
    return Ranked.model_validate(
        {
            "id": identity,
            "family": family,
            "subset": subset,
            "conversation": conversation,
            **answers,
            "response_type": response_type,
            "tie": tie,
        }
    )


RANKED_FORMATS: dict[str, Callable[[dict[str, Any], int], Ranked]] = {
    "preferences": preference,
    "rewardbench-2": rewardbench_2,
    **{
        name: partial(preference, source_format=name)
        for name in ("hh-rlhf", "pku-saferlhf-safer", "pku-saferlhf-better")
    },
}


@dataclass(frozen=True)
class RankedRows:
    """The rows with their places, and an error for each row that could not be read."""

    source_format: str
    rows: list[tuple[Place, Ranked]] = field(default_factory=list)
    errors: list[DataError] = field(default_factory=list)


def format_of(fields: Any, place: Place) -> str:
    """The format that a row's fields are of.

    Raises:
        DataError: if they are of none.
    """
    names = set(fields) if isinstance(fields, dict) else set()
    if "conversation" in names:
        return "preferences"
    if {"response_0", "response_1"} <= names:
        column = "better" if "safer_response_id" not in names else "safer"
        return f"pku-saferlhf-{column}"
    if {"chosen", "rejected", "prompt", "subset"} <= names:
        return "rewardbench-2"
    if {"chosen", "rejected"} <= names:
        return "hh-rlhf"
    known = ", ".join(RANKED_FORMATS)
    raise DataError(f"a row of no known format: name it, --format ({known})", place)


def read_ranked(source: str, source_format: str | None = None, split: str = "test") -> RankedRows:
    """Read a preference set, of a format that is named or that its first row is of.

    Args:
        source: a ``.jsonl`` or ``.csv`` file, or a data set by its hub name.
        split: of a hub's data set.

    Raises:
        DataError: on an unknown format, or if there is no such file or data set.
    """
    if source_format is not None and source_format not in RANKED_FORMATS:
        known = ", ".join(RANKED_FORMATS)
        raise DataError(f"no format '{source_format}'; there are: {known}")
    path = Path(source)
    rows: list[tuple[Place, Ranked]] = []
    errors: list[DataError] = []
    seen: dict[str, int] = {}
    for number, fields in read_table(source, split):
        place = Place(path, number)
        try:
            if source_format is None and not isinstance(fields, DataError):
                source_format = format_of(fields, place)
            name = source_format or "preferences"
            row = converted(RANKED_FORMATS[name], name, fields, number)
            former = seen.setdefault(row.id, number)
            if former != number:
                raise DataError(f"id '{row.id}' stands on line {former} already: give it another")
            rows.append((place, row))
        except DataError as error:
            errors.append(DataError(error.message, error.place or place))
    return RankedRows(source_format or "preferences", *_whole_ties(rows, errors))


def _whole_ties(
    rows: list[tuple[Place, Ranked]], errors: list[DataError]
) -> tuple[list[tuple[Place, Ranked]], list[DataError]]:
    """The rows without those of Ties that lack their other half, and the errors with those."""
    halves = {(row.family, row.tie) for _, row in rows}
    whole = []
    for place, row in rows:
        other = {"reference": "tied", "tied": "reference"}.get(row.tie or "")
        if other and (row.family, other) not in halves:
            prefix = "ref" if other == "reference" else "tied"
            missing = f"{prefix}:{row.id.partition(':')[2]}"
            text = f"'{row.id}' has no '{missing}' beside it: add that row, or leave this one out"
            errors.append(DataError(text, place))
        else:
            whole.append((place, row))
    return whole, errors
