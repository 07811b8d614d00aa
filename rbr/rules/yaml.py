"""Reading rule files so that every error knows its line, and nothing but plain data is accepted."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase, CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from rbr.errors import Place, RuleError
from rbr.options import no_number

ModelT = TypeVar("ModelT", bound=BaseModel)
MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MERGE = "tag:yaml.org,2002:merge"
# From which similarity on a name is a misspelt one.
CLOSE = 0.6
# What is wrong, for those who write YAML: pydantic's own words are of Python's types.
SAID = {
    "tuple_type": "must be a list, such as [one, other]",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of names to values",
    "string_pattern_mismatch": "must be lower-case letters, digits and _, beginning with a letter",
}


def read_mapping(path: Path, optional: bool = False) -> CommentedMap:
    """Read one YAML mapping; its nodes keep their lines.

    Args:
        optional: a file that a policy may do without: one of comments alone says nothing either.

    Raises:
        RuleError: not there, not readable, too big or deep, not UTF-8, not YAML, duplicate keys, tags, aliases,
            no mapping.
    """
    text = _text(path)
    try:
        try:
            node = _compose(text, path, pure=False)
        except YAMLError:
            # libyaml is many times faster, and refuses a little of YAML 1.2, such as {what: why?}.
            node = _compose(text, path, pure=True)
        value = _value(node, YAML(typ="safe", pure=True).constructor, path)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = _place(path, mark) if mark else Place(path)
        problem = (error.problem or "not YAML").splitlines()[0]
        raise RuleError(f"not valid YAML: {problem}", line) from error
    except YAMLError as error:
        raise RuleError(f"not valid YAML: {str(error).splitlines()[0]}", path) from error
    if value is None and optional:
        return CommentedMap()
    if not isinstance(value, CommentedMap):
        raise RuleError("must be a mapping of names to values", Place(path, 1, 1))
    return value


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RuleError(f"over {MAX_BYTES} bytes: split the file", path)
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RuleError("the file does not exist", path) from error
    except UnicodeDecodeError as error:
        raise RuleError("not UTF-8 text: save it as UTF-8", path) from error
    except OSError as error:
        message = f"cannot be read ({error.strerror}): put a file here that you may read"
        raise RuleError(message, path) from error


def _compose(text: str, path: Path, pure: bool) -> Any:
    """The node of a text, once its events are known to be few levels deep, without tags and aliases."""
    depth = 0
    for event in YAML(typ="safe", pure=pure).parse(text):
        depth += isinstance(event, CollectionStartEvent)
        depth -= isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            message = f"over {MAX_DEPTH} levels of brackets or indentation"
            raise RuleError(message, _place(path, event.start_mark))
        _check_event(event, path)
    return YAML(typ="safe", pure=pure).compose(text)


def _place(path: Path, mark: Any) -> Place:
    return Place(path, mark.line + 1, mark.column + 1)


def _check_event(event: Any, path: Path) -> None:
    tag = getattr(event, "ctag", None) or getattr(event, "tag", None)
    if tag and not str(tag).startswith("tag:yaml.org"):
        message = f"YAML tag '{tag}' is not allowed: write plain values"
        raise RuleError(message, _place(path, event.start_mark))
    if isinstance(event, AliasEvent):
        message = "YAML aliases are not allowed: write the value out"
        raise RuleError(message, _place(path, event.start_mark))


def _value(node: Any, constructor: Any, path: Path) -> Any:
    """The value of a node; mappings and sequences know the lines of what is in them."""
    if isinstance(node, MappingNode):
        found = CommentedMap()
        for key_node, item_node in node.value:
            place, item = key_node.start_mark, item_node.start_mark
            if key_node.tag == MERGE:
                message = "merge keys (<<) are not allowed: write the entries out"
                raise RuleError(message, _place(path, place))
            key = _value(key_node, constructor, path)
            if not isinstance(key_node, ScalarNode):
                raise RuleError("a name must be plain text", _place(path, place))
            if key in found:
                raise RuleError(f"not valid YAML: found duplicate key '{key}'", _place(path, place))
            found[key] = _value(item_node, constructor, path)
            found._yaml_set_kv_line_col(key, [place.line, place.column, item.line, item.column])
        return found
    if isinstance(node, SequenceNode):
        items = CommentedSeq(_value(item, constructor, path) for item in node.value)
        for i, item in enumerate(node.value):
            items._yaml_set_idx_line_col(i, [item.start_mark.line, item.start_mark.column])
        return items
    try:
        return None if node is None else constructor.construct_object(node)
    except ValueError as error:  # a date of the 99th of a month
        raise RuleError(f"not valid YAML: {error}", _place(path, node.start_mark)) from error


def place_of(path: Path, root: Any, location: Sequence[str | int]) -> Place:
    """The line and column of the value (or key) at ``location`` below ``root``."""
    node: Any = root
    line, column = 0, 0
    for part in location:
        if not isinstance(node, CommentedBase):
            break
        try:
            if isinstance(node, CommentedMap):
                part = _key(node, part)
                line, column = node.lc.key(part)
            else:
                line, column = node.lc.item(part)
            node = node[part]  # type: ignore[index]
        except (KeyError, IndexError, TypeError, AttributeError):
            break
    return Place(path, line + 1, column + 1)


def _key(node: CommentedMap, part: Any) -> Any:
    """A key as the file has it: a location has no dates but their text, and accents in one way."""
    if part in node:
        return part
    alike = (key for key in node if repr(key) == part or nfc(str(key)) == nfc(str(part)))
    return next(alike, part)


# Characters that nobody sees: marks of direction, soft hyphens, and those of no width that join nothing.
UNSEEN = dict.fromkeys(
    [0xAD, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF]
)


def nfc(text: str) -> str:
    """Accents as one character with their letter, and nothing unseen: what looks the same is the same then."""
    return unicodedata.normalize("NFC", text.translate(UNSEEN))


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name."""
    options = sorted(known)
    close = difflib.get_close_matches(name, options, 1, CLOSE)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"there are: {', '.join(options)}"


def _within(location: Sequence[str | int], problems: Sequence[Any]) -> bool:
    """Whether a problem stands below a location."""
    length = len(location)
    return any(len(p["loc"]) > length and p["loc"][:length] == location for p in problems)


def validate(
    model: type[ModelT], value: Any, path: Path, context: dict[str, Any], errors: list[RuleError]
) -> ModelT | None:
    """Check a file's value against a model; None if there are problems, which are added to ``errors``.

    Each has the line it stands on; a misspelt key gets a suggestion.

    Args:
        context: what the model's validators know.
    """
    try:
        return model.model_validate(value, context=context)
    except ValidationError as error:
        problems = error.errors()
        missing = [problem["loc"] for problem in problems if problem["type"] == "missing"]
        for problem in problems:
            if problem["type"] != "extra_forbidden":
                continue
            *above, key = problem["loc"]
            beside = [str(loc[-1]) for loc in missing if [*loc[:-1]] == above]
            known = beside or ([] if above else [*model.model_fields])
            problem["msg"] = f"unknown key; {suggest(str(key), known)}" if known else "unknown key"
            meant = difflib.get_close_matches(str(key), beside, 1, CLOSE)
            missing = [loc for loc in missing if [*loc] != [*above, *meant]]
        for problem in problems:
            if problem["type"] == "missing" and problem["loc"] not in missing:
                continue  # it is there, misspelt
            if problem["type"] == "too_short" and _within(problem["loc"], problems):
                continue  # pydantic does not count bad items
            location = [part for part in problem["loc"] if part != "[key]"]
            message = said(problem)
            if problem["type"] == "missing" and location[-1] in model.model_fields:
                message = (
                    f"missing; {model.model_fields[str(location[-1])].description or 'add it'}"
                )
            key = problem["loc"][-1:] == ("[key]",)  # 1 in the location for true
            named = [*location[:-1], _written(problem["input"])] if key else location
            # One that is not seen is in quotes.
            parts = (
                str(part) if str(part).strip() == str(part) != "" else f"'{part}'" for part in named
            )
            name = ".".join(parts) or "file"
            errors.append(RuleError(f"{name}: {message}", place_of(path, value, location)))
        return None


def said(problem: Any) -> str:
    """What is wrong in a value, in words for those who write YAML."""
    kind, given = problem["type"], problem["input"]
    if kind in ("too_short", "too_long"):
        word, key = {"too_short": ("least", "min_length"), "too_long": ("most", "max_length")}[kind]
        count = problem["ctx"][key]
        return f"must have at {word} {count} {'entry' if count == 1 else 'entries'}"
    if kind == "string_too_long":
        return f"has {len(given)} characters, at most {problem['ctx']['max_length']} are read: shorten it"
    if kind in ("float_type", "float_parsing", "int_type", "int_parsing"):
        return no_number(given) if not isinstance(given, dict | list) else "must be a number"
    if kind == "string_type" and given is None and problem["loc"][-1:] != ("[key]",):
        return "must be text, and nothing is written here"
    if kind == "string_type" and not isinstance(given, CommentedBase):
        return f"must be text: put it in quotes, '{_written(given)}'"
    if kind == "string_type":
        return "must be text"
    return SAID.get(kind) or str(problem["msg"]).removeprefix("Value error, ")


def _written(value: Any) -> str:
    """A value about as its file has it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
