"""Published formats: one function a format, from a row's fields to a row of ours.

Formats: OpenAI's RBR gold data (``openai/safety-rbr-code-and-data``), XSTest's prompts (Röttger et al.
2024), HH-RLHF (Bai et al. 2022) and PKU-SafeRLHF (Ji et al. 2024) preferences, and the evaluation sets of
``rbr.data.evaluation_sets``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from rbr.data.evaluation_sets import SETS, KnownAnswer, conversation_of, known_answers
from rbr.data.rows import Labelled, Message, PolicyPrompt, Preference, Row
from rbr.data.tables import read_table
from rbr.errors import DataError, Place, first_problem
from rbr.files import iter_json_lines

ConvertedT = TypeVar("ConvertedT")
OPENAI_RESPONSE_TYPES = {
    "Comply": "comply",
    "Hard Refuse": "hard_refusal",
    "Safe Refuse 1": "soft_refusal_disclosure",
    "Safe Refuse 2": "soft_refusal_methods",
}
# Of a set that only tells what is to be complied with; `for_policy` finds those of other rules.
SAFE, UNSAFE = "comply", "hard_refusal"


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
        over_refusal=gold.response_type == SAFE,
        conversation=gold.conversation,
        topic=gold.conversation[-1].content,
    )


def xstest(row: dict[str, Any], number: int) -> PolicyPrompt:
    """Columns ``id, prompt, type, label, focus, note``: safe prompts are to be complied with.

    The older header has ``id_v2`` and no label: prompts of the types ``contrast_...`` are unsafe.
    """
    kind, focus = _text(row["type"], "type"), row.get("focus")
    if "label" not in row and "id_v2" in row:
        row = {**row, "label": "unsafe" if kind.startswith("contrast_") else "safe"}
    identity = f"xstest-{_name(row['id_v2' if 'id_v2' in row else 'id'], 'id')}"
    return PolicyPrompt(
        id=identity,
        family=identity,  # the set has types, which are no families of like prompts
        category="xstest",
        kind=kind,
        response_type=_known(row["label"], {"safe": SAFE, "unsafe": UNSAFE}, "label"),
        over_refusal=row["label"] == "safe",
        conversation=(Message(role="user", content=_text(row["prompt"], "prompt")),),
        topic=focus if isinstance(focus, str) and focus.strip() else row["prompt"],
    )


def evaluation_prompt(row: dict[str, Any], number: int, name: str) -> PolicyPrompt | None:
    """The prompt of a row of an evaluation set (a key of ``SETS``); None where the row has no label."""
    spec = SETS[name]
    conversation = conversation_of(spec, row)
    safe = spec.safe if isinstance(spec.safe, bool) else spec.safe.of(row)
    if safe is None:
        return None
    category, kind = (
        str(row.get(column) or name) if column else name for column in (spec.category, spec.kind)
    )
    return PolicyPrompt(
        id=f"{name}-{number:06d}",
        family=f"{name}-{number:06d}",
        category=category,
        kind=kind,
        response_type=SAFE if safe else UNSAFE,
        over_refusal=safe,
        conversation=conversation,
        topic=row[spec.prompt],
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


FORMATS: dict[str, Callable[[dict[str, Any], int], Row | None]] = {
    "openai-gold": openai_gold,
    "openai-prompts": openai_prompt,
    "xstest": xstest,
    "hh-rlhf": hh_rlhf,
    "pku-saferlhf-safer": partial(pku, column="safer_response_id"),
    "pku-saferlhf-better": partial(pku, column="better_response_id"),
    **{name: partial(evaluation_prompt, name=name) for name in SETS},
}
# Those of prompts alone, with what is to be complied with.
PROMPT_FORMATS = ("openai-prompts", "xstest", *SETS)


@dataclass(frozen=True)
class Imported:
    """The converted rows, and an error for each row that could not be read.

    Attributes:
        answers: of the evaluation sets that have labelled ones.
        unlabelled: lines of prompts without a label, which are no rows and no errors.
    """

    rows: list[Row] = field(default_factory=list)
    errors: list[DataError] = field(default_factory=list)
    answers: list[KnownAnswer] = field(default_factory=list)
    unlabelled: list[int] = field(default_factory=list)


def read_foreign(
    source_format: str, source: str, split: str = "train", config: str | None = None
) -> Imported:
    """Read a file, or a data set by its hub name, in a published format.

    Args:
        source_format: a key of ``FORMATS``.
        source, split, config: as ``read_table`` takes them.

    Raises:
        DataError: on an unknown format, or if there is no such file or data set.
    """
    if source_format not in FORMATS:
        raise DataError(f"no format '{source_format}'; there are: {', '.join(FORMATS)}")
    result = Imported()
    seen: dict[Any, tuple[Any, int]] = {}
    ids: dict[str, int] = {}

    def read(fields: dict[str, Any], number: int) -> tuple[Row | None, list[KnownAnswer]]:
        return FORMATS[source_format](fields, number), known_answers(source_format, fields)

    for number, fields in read_table(source, split, config):
        try:
            row, answers = converted(read, source_format, fields, number)
            if row is None:
                result.unlabelled.append(number)
            else:
                prompt, label = _labelled(row)
                former, line = seen.setdefault(prompt, (label, number))
                if former != label:
                    raise DataError(f"the same prompt as on line {line}, but with another label")
                identity = str(getattr(row, "id", number))
                if (line := ids.setdefault(identity, number)) != number:
                    raise DataError(f"id '{identity}' stands on line {line} already: give another")
                result.rows.append(row)
            result.answers.extend(answers)
        except DataError as error:
            place = error.place or Place(Path(source), number)
            result.errors.append(DataError(error.message, place))
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
    convert: Callable[[dict[str, Any], int], ConvertedT], name: str, fields: Any, number: int
) -> ConvertedT:
    """What a row becomes; a DataError without a place, or the one that took the row's place."""
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
