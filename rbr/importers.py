"""Rows of published formats as ours: one function a format, from a row's fields to a row of ours.

Formats: OpenAI's RBR gold data (``openai/safety-rbr-code-and-data``), XSTest's prompts (Röttger et al.
2024), HH-RLHF (Bai et al. 2022) and PKU-SafeRLHF (Ji et al. 2024) preferences.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rbr.data.rows import Labelled, Message, PolicyPrompt, Preference, Row
from rbr.errors import DataError, Place, first_problem
from rbr.files import iter_json_lines

OPENAI_RESPONSE_TYPES = {
    "Comply": "comply",
    "Hard Refuse": "hard_refusal",
    "Safe Refuse 1": "soft_refusal_disclosure",
    "Safe Refuse 2": "soft_refusal_methods",
}


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a text that is not empty")
    return value


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
    odd = [name for name, value in labels.items() if not isinstance(value, bool)]
    if odd:
        raise ValueError(f"propositions.{odd[0]} must be true or false")
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
    """Columns ``id, prompt, type, label, focus, note``: safe prompts are to be complied with."""
    kinds = {"safe": "comply", "unsafe": "hard_refusal"}
    return PolicyPrompt(
        id=f"xstest-{_text(row['id'], 'id')}",
        family=f"xstest-{_text(row['type'], 'type')}",
        category="xstest",
        kind=row["type"],
        response_type=_known(row["label"], kinds, "label"),
        conversation=(Message(role="user", content=_text(row["prompt"], "prompt")),),
        topic=row.get("focus") or row["prompt"],
    )


def _turns(text: str, name: str) -> list[Message]:
    """HH-RLHF's one text, with its ``Human:`` and ``Assistant:`` marks, as messages."""
    messages: list[Message] = []
    for part in _text(text, name).split("\n\n"):
        for mark, role in (("Human:", "user"), ("Assistant:", "assistant")):
            if part.startswith(mark):
                messages.append(Message(role=role, content=part.removeprefix(mark).strip()))  # type: ignore[arg-type]
                break
        else:
            if messages:
                last = messages[-1]
                messages[-1] = Message(role=last.role, content=f"{last.content}\n\n{part}".strip())
    return messages


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


def _pku(row: dict[str, Any], number: int, column: str) -> Preference:
    best = row[column]
    if best not in (0, 1):
        raise ValueError(f"{column} must be 0 or 1, not {best!r}")
    return Preference(
        id=f"pku-{number:06d}",
        family=f"pku-{number:06d}",
        conversation=(Message(role="user", content=_text(row["prompt"], "prompt")),),
        chosen=row[f"response_{best}"],
        rejected=row[f"response_{1 - best}"],
        source=f"pku-saferlhf {column}",
    )


def pku_safer(row: dict[str, Any], number: int) -> Preference:
    """Columns ``prompt, response_0, response_1, safer_response_id``."""
    return _pku(row, number, "safer_response_id")


def pku_better(row: dict[str, Any], number: int) -> Preference:
    """Columns ``prompt, response_0, response_1, better_response_id``: the more helpful one."""
    return _pku(row, number, "better_response_id")


FORMATS: dict[str, Callable[[dict[str, Any], int], Row]] = {
    "openai-gold": openai_gold,
    "openai-prompts": openai_prompt,
    "xstest": xstest,
    "hh-rlhf": hh_rlhf,
    "pku-saferlhf-safer": pku_safer,
    "pku-saferlhf-better": pku_better,
}


@dataclass(frozen=True)
class Imported:
    """Rows of ours, and an error for each row that could not be read."""

    rows: list[Row] = field(default_factory=list)
    errors: list[DataError] = field(default_factory=list)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | DataError]]:
    """``(line, fields)`` of a JSONL or CSV file; an error in place of a line that is neither."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".csv":
                reader = csv.DictReader(file)
                for fields in reader:
                    yield reader.line_num, fields
                return
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                except json.JSONDecodeError as error:
                    yield (
                        number,
                        DataError(f"not JSON: {error.msg}", Place(path, number, error.colno)),
                    )
                    continue
                if isinstance(value, dict):
                    yield number, value
                else:
                    yield number, DataError("must be an object", Place(path, number))
    except FileNotFoundError as error:
        raise DataError("the file does not exist", path) from error
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8 text", path) from error


def _hub(name: str, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    from datasets import load_dataset

    try:
        found = load_dataset(name, split=split)
    except Exception as error:  # the library raises many kinds; all mean that there is no data
        raise DataError(f"no file and no data set of a hub: '{name}' ({error})") from error
    yield from enumerate(found, 1)


def read_foreign(kind: str, source: str, split: str = "train") -> Imported:
    """Read a file, or a data set by its hub name, in a published format.

    Args:
        kind: a key of ``FORMATS``.
        source: path of a ``.jsonl`` or ``.csv`` file, or ``owner/name`` of a hub.

    Raises:
        DataError: on an unknown format, or if there is no such file or data set.
    """
    if kind not in FORMATS:
        raise DataError(f"no format '{kind}'; there are: {', '.join(FORMATS)}")
    path = Path(source)
    local = path.exists() or path.suffix in (".jsonl", ".csv")
    result = Imported()
    for number, fields in _lines(path) if local else _hub(source, split):
        if isinstance(fields, DataError):
            result.errors.append(fields)
            continue
        try:
            result.rows.append(FORMATS[kind](fields, number))
        except KeyError as error:
            message = f"no field {error} in this row; is it of format '{kind}'?"
            result.errors.append(DataError(message, Place(path, number)))
        except ValidationError as error:
            result.errors.append(DataError(first_problem(error, "row"), Place(path, number)))
        except (ValueError, TypeError, AttributeError) as error:
            result.errors.append(DataError(str(error), Place(path, number)))
    return result


def read_whole(kind: str, path: Path) -> list[Row]:
    """The rows of a file in a published format.

    Raises:
        DataError: naming the first row that cannot be read.
    """
    found = read_foreign(kind, str(path))
    if found.errors:
        raise found.errors[0]
    return found.rows


def is_openai_gold(path: Path) -> bool:
    """Whether a JSONL file's first row is of OpenAI's gold format (ours names what is true)."""
    first: dict[str, Any] = next(iter_json_lines(path), (0, {}))[1]
    return "propositions" in first
