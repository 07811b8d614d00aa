"""Files that are written whole or not at all, and read with errors that name file and line."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO, TypeVar

from pydantic import BaseModel, ValidationError

from rbr.errors import DataError, Place, RBRError, first_problem

RowT = TypeVar("RowT", bound=BaseModel)
FORMER = ".former"
MAX_LINE = 4_000_000
NOT_UTF8 = "not UTF-8 text: save it as UTF-8"
_REFUSING = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG,
    errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
}  # fmt: skip
_REFUSED = (
    "No space left on device",
    "Read-only file system",
    "Disk quota exceeded",
    "database or disk is full",
    "attempt to write a readonly database",
)


def unwritable(error: BaseException) -> str | None:
    """Why the file system refused a write, or None for any other error.

    Safetensors, torch and SQLite report a full disk by errors of other types.
    """
    if isinstance(error, OSError) and error.errno in _REFUSING:
        return str(error.strerror)
    text = str(error).lower()
    return next((reason for reason in _REFUSED if reason.lower() in text), None)


def _tidy(target: Path) -> None:
    """Remove what killed processes left beside ``target``; restore the former one if it is gone."""
    import psutil  # here, so that what only reads starts without it

    for left in target.parent.glob(f".{target.name}.*-*.*"):
        pid = left.name.removeprefix(f".{target.name}.").split("-")[0]
        ours = pid.isdigit() and left.suffix in (".partial", FORMER)
        if not ours or psutil.pid_exists(int(pid)):
            continue
        if left.suffix == FORMER and not target.exists():
            left.rename(target)  # killed between the two renames
        else:
            _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        path.unlink(missing_ok=True)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target`` to write to; rename it to ``target`` when the block succeeds.

    Works for files and for directories. On an error the former ``target`` is untouched and what was
    written is removed; the next call removes what a killed process left.

    Raises:
        RBRError: if the folder cannot be written, or the disk is full.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _tidy(target)
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target.parent))
        yield temporary
        if temporary.is_dir() and target.is_dir():
            # Directories cannot be swapped in one step; the former one is kept until the new is in place.
            former = temporary.with_suffix(FORMER)
            target.rename(former)
            temporary.rename(target)
            shutil.rmtree(former)
        else:
            temporary.replace(target)
    except Exception as error:
        reason = unwritable(error)
        if reason is None:
            raise
        raise RBRError(
            f"cannot write here ({reason}): free the space or grant the permission", target
        ) from error
    finally:
        _remove(temporary)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: if the file is missing or not JSON.
    """
    with reading(path, "the file does not exist: make the artifact first") as file:
        value = json_value(file.read(), Place(path))
    if isinstance(value, DataError):
        raise value
    return value


def write_rows(path: Path, rows: Iterable[BaseModel | dict[str, Any]]) -> None:
    """Write rows as JSON lines, atomically."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            value = row.model_dump(exclude_none=True) if isinstance(row, BaseModel) else row
            file.write(json.dumps(value, ensure_ascii=False) + "\n")


def append_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append rows to a log of JSON lines; a last line that a killed process left torn is dropped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        file.write(b"".join(json.dumps(row).encode() + b"\n" for row in rows))


def read_log(path: Path) -> list[Any]:
    """Whole rows of a log that ``append_rows`` wrote; none where there is no file."""
    if not path.exists():
        return []
    return [row for _, row in parse_json_lines(path) if not isinstance(row, DataError)]


@contextmanager
def reading(path: Path, missing: str = "the file does not exist") -> Iterator[TextIO]:
    """A text file, without the mark that some programs begin UTF-8 with; see ``text_problem``.

    Raises:
        DataError: if it cannot be opened or read.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(missing, path) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path) from error


def text_problem(text: str) -> str | None:
    """Why text that ``reading`` gave is none: bytes that are not UTF-8, or half a character."""
    if "\0" in text:  # every other byte of UTF-16
        return NOT_UTF8
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        if "\udc80" <= text[error.start] <= "\udcff":
            return NOT_UTF8
        return "half a character (a lone surrogate) is no text"
    return None


def json_value(text: str, place: Place) -> Any:
    """A JSON text's value, or a DataError that says why it has none that can be used."""
    problem = text_problem(text)
    if problem:
        lines = enumerate(text.split("\n"), start=1) if place.line is None else ()
        line = next((number for number, part in lines if text_problem(part)), place.line)
        return DataError(problem, Place(place.path, line))
    value = None
    try:
        value = json.loads(text)
        # Half a character may be escaped too: it can be neither written nor hashed.
        if "\\ud" in text.lower():
            problem = text_problem(json.dumps(value, ensure_ascii=False))
    except json.JSONDecodeError as error:
        place = Place(place.path, place.line or error.lineno, error.colno)
        problem = f"not JSON: {error.msg}"
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, deep brackets
        problem = f"JSON that cannot be read: {error}"
    return DataError(problem, place) if problem else value


def parse_json_lines(
    path: Path, parse: Callable[[str, Place], Any] = json_value
) -> Iterator[tuple[int, Any]]:
    """Yield ``(line number, value)`` for each non-empty line; a DataError is the value of a bad one.

    Raises:
        DataError: if the file cannot be opened.
    """
    with reading(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), ""), start=1):
            if len(line) > MAX_LINE:
                while line and not line.endswith(("\n", "\r")):
                    line = file.readline(MAX_LINE)
                message = f"a line of over {MAX_LINE} characters: no row is that long"
                yield number, DataError(message, Place(path, number))
            elif line.strip():
                yield number, parse(line, Place(path, number))


def iter_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield ``(line number, value)`` for each non-empty line.

    Raises:
        DataError: naming the line that is not JSON, or the file that cannot be read.
    """
    for number, value in parse_json_lines(path):
        if isinstance(value, DataError):
            raise value
        yield number, value


def visible(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder in name order, without the hidden ones that macOS and editors leave beside them."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def read_rows(path: Path, model: type[RowT]) -> list[RowT]:
    """Read rows of one format; see ``placed_rows``."""
    return [row for _, row in placed_rows(path, model)]


def placed_rows(path: Path, model: type[RowT]) -> list[tuple[Place, RowT]]:
    """Rows of one format with their places, of a file or of every ``*.jsonl`` of a folder (``visible``).

    Raises:
        DataError: naming the line and the field of the first bad row, or the line of a repeated id;
            or a folder without rows.
    """
    rows = []
    for place, row in checked_rows(path, model):
        if isinstance(row, DataError):
            raise row
        rows.append((place, row))
    return rows


def checked_rows(path: Path, model: type[RowT]) -> Iterator[tuple[Place, RowT | DataError]]:
    """As ``placed_rows``, with what is wrong in place of each bad row.

    That a file is not UTF-8 is reported once, at the first such line.

    Raises:
        DataError: on a file that cannot be opened, or a folder without rows.
    """
    seen: dict[str, Place] = {}
    none = True
    for file in visible(path, "*.jsonl") if path.is_dir() else [path]:
        for number, row in _reported_once(parse_json_lines(file, partial(_parse_row, model))):
            place, none = Place(file, number), False
            yield place, row if isinstance(row, DataError) else _unique(row, place, seen)
    if path.is_dir() and none:
        raise DataError("no *.jsonl file with rows here", path)


def _reported_once(rows: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """The rows, without those after the first that is not UTF-8 for the same reason."""
    reported = False
    for number, row in rows:
        again = isinstance(row, DataError) and row.message == NOT_UTF8
        if not (again and reported):
            yield number, row
        reported |= again


def _parse_row(model: type[RowT], text: str, place: Place) -> RowT | DataError:
    """A row, or what is wrong with it."""
    with suppress(ValueError):
        return model.model_validate_json(text)  # twice as fast where nothing is wrong
    value = json_value(text, place)
    try:
        return value if isinstance(value, DataError) else model.model_validate(value)
    except ValidationError as error:
        return DataError(first_problem(error, "row"), place)


def _unique(row: RowT, place: Place, seen: dict[str, Place]) -> RowT | DataError:
    """The row, or that its id was seen before; ``seen``: the places of ids so far."""
    identity = getattr(row, "id", None)
    former = place if identity is None else seen.setdefault(identity, place)
    if former is place:
        return row
    where = "" if former.path == place.path else f" of {former.path.name}"
    return DataError(f"id '{identity}' stands on line {former.line}{where} already", place)


def files_digest(paths: Sequence[Path]) -> str:
    """16 hex digits of the files' contents, in this order."""
    contents = b"".join(bytes.fromhex(file_digest(path)) for path in paths)
    return hashlib.sha256(contents).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(*values: Any) -> str:
    """16 hex digits of JSON-like values (pydantic models too): the key of unfinished work."""

    def plain(value: Any) -> Any:
        return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)

    text = json.dumps(values, sort_keys=True, default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
