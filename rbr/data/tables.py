"""Rows of other people's files and data sets, as mappings, with the line that each begins on."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from rbr.errors import DataError, Place
from rbr.files import MAX_LINE, json_value, parse_json_lines, reading, text_problem

# A line (of a table without lines: a row) and its fields, or what is wrong with it.
Rows = Iterator[tuple[int, Any]]
SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")
_BETWEEN = re.compile(r"\s*(,\s*)?")
# What spreadsheets write between fields where a comma is the decimal point, or on request.
_SEPARATOR = re.compile(r"[;\t|]")
_LINE_END = re.compile(r"\r\n|\r|\n")


def read_table(source: str, split: str = "train", config: str | None = None) -> Rows:
    """The rows of a file by its suffix (``SUFFIXES``, in any case), or of a data set by its hub name.

    A file without a suffix, such as a pipe, has JSON lines.

    Args:
        split, config: of a hub's data set.

    Raises:
        DataError: if there is no such file or data set, or it is none of its format.
    """
    path = Path(source)
    match path.suffix.lower():
        case ".csv":
            return csv_rows(path)
        case ".json":
            return json_rows(path)
        case ".parquet":
            return parquet_rows(path)
        case ".jsonl":
            return parse_json_lines(path)
    if path.suffix and path.is_file():
        kinds = ", ".join(SUFFIXES)
        raise DataError(f"'{path.suffix}' is none of {kinds}: save it as one of them", path)
    return parse_json_lines(path) if path.exists() else hub_rows(source, split, config)


def csv_rows(path: Path) -> Rows:
    """See ``parse_json_lines``; a value is a mapping of columns to text."""
    csv.field_size_limit(MAX_LINE)
    header: list[str] = []
    with reading(path) as file:
        # Strict: a quote that is never closed is an error, not a field that holds all further rows.
        reader = csv.reader(file, strict=True)
        while True:
            cells: list[str] = []
            start = reader.line_num + 1
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
                raise DataError(problem, Place(path, start))
            if not header and len(cells) == 1 and (found := _SEPARATOR.search(cells[0])):
                between = "tabs" if found[0] == "\t" else f"'{found[0]}'"
                text = f"the fields stand between {between}: save it with commas between them"
                raise DataError(text, Place(path, start))
            if problem:
                yield start, DataError(problem)
            elif header and cells:
                yield start, dict(zip_longest(header, cells, fillvalue=""))
            header = header or cells


def json_rows(path: Path) -> Rows:
    """See ``parse_json_lines``; the file is one array, or JSON lines under another name."""
    with reading(path) as file:
        text = file.read()
    if not text.lstrip().startswith("["):
        yield from parse_json_lines(path)
        return
    decoder, line, position = json.JSONDecoder(), 1, text.index("[") + 1
    first, counted = True, 0
    while True:
        between = _BETWEEN.match(text, position)
        assert between is not None
        start = between.end()
        line += len(_LINE_END.findall(text, counted, start))
        counted = start
        if text.startswith("]", start):
            return
        try:
            if not (first or between[1]):
                raise ValueError("no comma between two rows, or no ] after the last")
            first, position = False, decoder.raw_decode(text, start)[1]
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", error)
            # Where the next row begins, nobody can tell.
            yield line, DataError(f"not JSON: {reason}; nothing after it is read")
            return
        yield line, json_value(text[start:position], Place(path, line))


def parquet_rows(path: Path) -> Rows:
    """See ``parse_json_lines``; rows are counted from 1."""
    from pyarrow import ArrowException, parquet

    try:
        batches = parquet.ParquetFile(path).iter_batches()
        yield from enumerate(chain.from_iterable(batch.to_pylist() for batch in batches), 1)
    except FileNotFoundError as error:
        raise DataError("the file does not exist", path) from error
    except (ArrowException, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"no parquet file that can be read: {reason}", path) from error


def hub_rows(name: str, split: str, config: str | None = None) -> Rows:
    """See ``parse_json_lines``; rows are counted from 1."""
    from datasets import load_dataset

    try:
        found = load_dataset(name, config, split=split)
    except Exception as error:  # the library raises many types; all mean that there is no data
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"no file and no data set of a hub: '{name}' ({reason}); check the name and the network, or"
            f" give a file ({', '.join(SUFFIXES)})"
        ) from error
    yield from enumerate(found, 1)
