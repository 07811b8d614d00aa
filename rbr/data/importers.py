"""Published formats: one function a format, from a row's fields to a row of ours.

Formats: OpenAI's RBR gold data (``openai/safety-rbr-code-and-data``), XSTest's prompts (Röttger et al.
2024), HH-RLHF (Bai et al. 2022) and PKU-SafeRLHF (Ji et al. 2024) preferences.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from rbr.data.rows import Labelled, Message, PolicyPrompt, Preference, Row
from rbr.errors import DataError, Place, first_problem
from rbr.files import MAX_LINE, iter_json_lines, parse_json_lines, reading, text_problem

RowT = TypeVar("RowT", bound=Row)
OPENAI_RESPONSE_TYPES = {
    "Comply": "comply",
    "Hard Refuse": "hard_refusal",
    "Safe Refuse 1": "soft_refusal_disclosure",
    "Safe Refuse 2": "soft_refusal_methods",
}


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a non-empty text")
    return value


def _name(value: Any, name: str) -> str:
    """An identifier: text, or a whole number however it is written (1, 1.0)."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _text(str(value) if type(value) is int else value, name).strip()


def _known(value: Any, known: dict[str, str], name: str) -> str:
    if value not in known:
        raise ValueError(f"{name} '{value}' is not one of {', '.join(known)}")
    return known[value]


def openai_gold(row: dict[str, Any], number: int) -> Labelled:
    """Fields ``category, response_type, prompt, completion, propositions``."""
    answer = row["completion"]
    if len(answer) != 1 or answer[0]["role"] != "assistant":
        raise ValueError("completion must be one assistant message")
    labels = row["propositions"]
    wrong = [name for name, value in labels.items() if not isinstance(value, bool)]
    if wrong:
        raise ValueError(f"propositions.{wrong[0]} must be true or false")
    return Labelled(
        id=f"openai-{number:04d}",
        response_type=_known(row["response_type"], OPENAI_RESPONSE_TYPES, "response_type"),
        conversation=tuple(Message(**m) for m in row["prompt"]),
        completion=answer[0]["content"],
        true=tuple(sorted(name for name, value in labels.items() if value)),
    )


def openai_prompt(row: dict[str, Any], number: int) -> PolicyPrompt:
    """The prompt of a row of OpenAI's gold format, for evaluation."""
    gold = openai_gold(row, number)
    return PolicyPrompt(
        id=gold.id,
        family=gold.id,
        category=_text(row["category"], "category"),
        kind=str(row["response_type"]),
        response_type=gold.response_type,
        conversation=gold.conversation,
        topic=gold.conversation[-1].content,
    )


def xstest(row: dict[str, Any], number: int) -> PolicyPrompt:
    """Columns ``id, prompt, type, label, focus, note``: safe prompts are to be complied with.

    The older header has ``id_v2`` and no label: prompts of the types ``contrast_...`` are unsafe.
    """
    response_types = {"safe": "comply", "unsafe": "hard_refusal"}
    kind, focus = _text(row["type"], "type"), row.get("focus")
    if "label" not in row and "id_v2" in row:
        row = {**row, "label": "unsafe" if kind.startswith("contrast_") else "safe"}
    identity = f"xstest-{_name(row['id_v2' if 'id_v2' in row else 'id'], 'id')}"
    return PolicyPrompt(
        id=identity,
        family=identity,  # the set has types, which are no families of like prompts
        category="xstest",
        kind=kind,
        response_type=_known(row["label"], response_types, "label"),
        conversation=(Message(role="user", content=_text(row["prompt"], "prompt")),),
        topic=focus if isinstance(focus, str) and focus.strip() else row["prompt"],
    )


def _turns(text: str, name: str) -> list[Message]:
    """The messages of HH-RLHF's text, which marks turns by ``Human:`` and ``Assistant:``."""
    marked = re.split(r"(?:^|\n\n)(Human|Assistant):", _text(text, name))[1:]
    roles: dict[str, Any] = {"Human": "user", "Assistant": "assistant"}
    return [
        Message(role=roles[mark], content=content.strip())
        for mark, content in zip(marked[::2], marked[1::2], strict=True)
    ]


def hh_rlhf(row: dict[str, Any], number: int) -> Preference:
    """Columns ``chosen, rejected``: two conversations that differ in the last assistant turn."""
    chosen, rejected = _turns(row["chosen"], "chosen"), _turns(row["rejected"], "rejected")
    if len(chosen) < 2 or [m.content for m in chosen[:-1]] != [m.content for m in rejected[:-1]]:
        raise ValueError("chosen and rejected must differ in the last assistant turn alone")
    return Preference(
        id=f"hh-{number:06d}",
        family=f"hh-{number:06d}",
        conversation=tuple(chosen[:-1]),
        chosen=chosen[-1].content,
        rejected=rejected[-1].content,
        source="hh-rlhf",
    )


def pku(row: dict[str, Any], number: int, column: str) -> Preference:
    """Columns ``prompt, response_0, response_1``, and ``column``: the number of the preferred one."""
    numbers = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}
    chosen = numbers.get(str(row[column]).strip().lower())
    if chosen is None:
        raise ValueError(f"{column} must be 0 or 1, not {row[column]!r}")
    return Preference(
        id=f"pku-{number:06d}",
        family=f"pku-{number:06d}",
        conversation=(Message(role="user", content=_text(row["prompt"], "prompt")),),
        chosen=row[f"response_{chosen}"],
        rejected=row[f"response_{1 - chosen}"],
        source=f"pku-saferlhf {column}",
    )


FORMATS: dict[str, Callable[[dict[str, Any], int], Row]] = {
    "openai-gold": openai_gold,
    "openai-prompts": openai_prompt,
    "xstest": xstest,
    "hh-rlhf": hh_rlhf,
    "pku-saferlhf-safer": partial(pku, column="safer_response_id"),
    "pku-saferlhf-better": partial(pku, column="better_response_id"),
}


@dataclass(frozen=True)
class Imported:
    """The converted rows, and an error for each row that could not be read."""

    rows: list[Row] = field(default_factory=list)
    errors: list[DataError] = field(default_factory=list)


def _csv_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """See ``parse_json_lines``; a value is a mapping of columns to text."""
    csv.field_size_limit(MAX_LINE)
    header: list[str] = []
    with reading(path) as file:
        # Strict: a quote that is never closed is an error, not a field that holds all further rows.
        reader = csv.reader(file, strict=True)
        while True:
            cells: list[str] = []
            try:
                cells = next(reader)
                problem = text_problem("".join(cells))
            except StopIteration:
                return
            except csv.Error as error:
                problem = f"not CSV: {error}"
            if header and len(cells) > len(header):
                problem = problem or f"{len(cells)} fields, but {len(header)} columns"
            if problem and not header:
                raise DataError(problem, Place(path, reader.line_num))
            if problem:
                yield reader.line_num, DataError(problem)
            elif header and cells:
                yield reader.line_num, dict(zip_longest(header, cells, fillvalue=""))
            header = header or cells


def _hub(name: str, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    from datasets import load_dataset

    try:
        found = load_dataset(name, split=split)
    except Exception as error:  # the library raises many types; all mean that there is no data
        raise DataError(f"no file and no data set of a hub: '{name}' ({error})") from error
    yield from enumerate(found, 1)


def foreign_rows(source: str, split: str) -> Iterator[tuple[int, Any]]:
    """Rows of a ``.jsonl`` or ``.csv`` file, or of a hub's data set, with their numbers.

    A DataError is the value of a bad one.
    """
    path = Path(source)
    if path.suffix.lower() == ".csv":
        return _csv_rows(path)
    if path.suffix.lower() == ".jsonl" or path.exists():
        return parse_json_lines(path)
    return _hub(source, split)


def read_foreign(source_format: str, source: str, split: str = "train") -> Imported:
    """Read a file, or a data set by its hub name, in a published format.

    Args:
        source_format: a key of ``FORMATS``.
        source: path of a ``.jsonl`` or ``.csv`` file, or ``owner/name`` of a hub.

    Raises:
        DataError: on an unknown format, or if there is no such file or data set.
    """
    if source_format not in FORMATS:
        raise DataError(f"no format '{source_format}'; there are: {', '.join(FORMATS)}")
    path = Path(source)
    result = Imported()
    seen: dict[Any, tuple[Any, int]] = {}
    for number, fields in foreign_rows(source, split):
        try:
            row = converted(FORMATS[source_format], source_format, fields, number)
            prompt, label = _labelled(row)
            former, line = seen.setdefault(prompt, (label, number))
            if former != label:
                raise DataError(f"the same prompt as on line {line}, but with another label")
            result.rows.append(row)
        except DataError as error:
            result.errors.append(DataError(error.message, error.place or Place(path, number)))
    return result


def _labelled(row: Row) -> tuple[Any, Any]:
    """A prompt, spaces and case aside, and the label that it has.

    Of other rows none: people may label one answer twice, and not alike.
    """
    if not isinstance(row, PolicyPrompt):
        return row, None
    talk = tuple((m.role, " ".join(m.content.split()).casefold()) for m in row.conversation)
    return talk, row.response_type


def converted(
    convert: Callable[[dict[str, Any], int], RowT], name: str, fields: Any, number: int
) -> RowT:
    """A row of ours; a DataError without a place, or the one that took the row's place."""
    if isinstance(fields, DataError):
        raise fields
    if not isinstance(fields, dict):
        raise DataError("must be an object")
    try:
        return convert(fields, number)
    except KeyError as error:
        message = f"no field {error} in this row; is it of format '{name}'?"
        raise DataError(message) from error
    except ValidationError as error:
        raise DataError(first_problem(error, "row")) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(str(error)) from error


def read_whole(source_format: str, path: Path) -> list[Row]:
    """The rows of a file in a published format.

    Raises:
        DataError: naming the first row that cannot be read.
    """
    found = read_foreign(source_format, str(path))
    if found.errors:
        raise found.errors[0]
    return found.rows


def is_openai_gold(path: Path) -> bool:
    """Whether a JSONL file's first row is of OpenAI's gold format (ours names what is true)."""
    first = next(iter_json_lines(path), (0, None))[1]
    return isinstance(first, dict) and "propositions" in first
