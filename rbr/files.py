"""Reading and writing: atomic, with errors that name file and line."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rbr.errors import DataError, Place, RBRError, first_problem

RowT = TypeVar("RowT", bound=BaseModel)
FORMER = ".former"
MAX_LINE = 4_000_000
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

    Safetensors, torch and SQLite tell a full disk in errors of their own.
    """
    if isinstance(error, OSError) and error.errno in _REFUSING:
        return str(error.strerror)
    text = str(error).lower()
    return next((told for told in _REFUSED if told.lower() in text), None)


def _tidy(target: Path) -> None:
    """Remove what killed processes left beside ``target``; put the former one back if it is gone."""
    for left in target.parent.glob(f".{target.name}.*-*.*"):
        owner = left.name.removeprefix(f".{target.name}.").split("-")[0]
        if not owner.isdigit() or left.suffix not in (".partial", FORMER) or lives(int(owner)):
            continue
        if left.suffix == FORMER and not target.exists():
            left.rename(target)  # killed between the two renames
        elif left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def lives(pid: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target`` to write to; rename it to ``target`` when the block succeeds.

    Works for files and for directories. On an error the former ``target`` is untouched and what was
    written is removed; what a killed process left beside it is removed by the next one.

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
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        elif temporary.exists():
            temporary.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: if the file is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError("the file does not exist: make the artifact first", path) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not JSON: {error}", path) from error


def write_rows(path: Path, rows: Iterable[BaseModel | dict[str, Any]]) -> None:
    """Write rows as JSON lines, atomically."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            value = row.model_dump(exclude_none=True) if isinstance(row, BaseModel) else row
            file.write(json.dumps(value, ensure_ascii=False) + "\n")


def iter_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield ``(line number, value)`` for each non-empty line.

    Raises:
        DataError: naming the line that is no JSON, or the file that is missing.
    """
    try:
        with path.open(encoding="utf-8") as file:
            lines = iter(lambda: file.readline(MAX_LINE + 1), "")
            for number, line in enumerate(lines, start=1):
                if len(line) > MAX_LINE:
                    raise DataError(
                        f"a line of over {MAX_LINE} characters: no row is that long",
                        Place(path, number),
                    )
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except json.JSONDecodeError as error:
                        raise DataError(
                            f"not JSON: {error.msg}", Place(path, number, error.colno)
                        ) from error
    except FileNotFoundError as error:
        raise DataError("the file does not exist", path) from error
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8 text", path) from error


def read_rows(path: Path, kind: type[RowT]) -> list[RowT]:
    """Read rows of one format.

    Raises:
        DataError: naming the line and the field of the first bad row.
    """
    rows: list[RowT] = []
    seen: dict[str, int] = {}
    for number, value in iter_json_lines(path):
        try:
            row = kind.model_validate(value)
        except ValidationError as error:
            raise DataError(first_problem(error, "row"), Place(path, number)) from error
        identity = getattr(row, "id", None)
        if identity is not None and identity in seen:
            raise DataError(
                f"id '{identity}' stands on line {seen[identity]} already", Place(path, number)
            )
        if identity is not None:
            seen[identity] = number
        rows.append(row)
    return rows


def read_folder(folder: Path, kind: type[RowT]) -> list[RowT]:
    """Read every ``*.jsonl`` of a folder, in name order; ids are unique over all files."""
    rows: list[RowT] = []
    seen: dict[str, Path] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for row in read_rows(path, kind):
            identity = getattr(row, "id", "")
            if identity in seen:
                raise DataError(f"id '{identity}' stands in {seen[identity].name} already", path)
            seen[identity] = path
            rows.append(row)
    if not rows:
        raise DataError("no *.jsonl file with rows here", folder)
    return rows


def files_digest(paths: Sequence[Path]) -> str:
    """16 hex digits of what the files hold, in this order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
