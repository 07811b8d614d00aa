"""Answers in XML and markdown tables, read into the nodes that JSON is read into.

As in JSON, values keep their place in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from rbr.grading.chat.loose_json import Node, Object, Scalar

_ELEMENT = re.compile(
    r"<(?P<tag>[a-z_][\w-]{0,40})(?P<with>(?:\s+[\w-]+\s*=\s*\"[^\"<>]*\")*)\s*>(?P<in>.*?)</(?P=tag)\s*>",
    re.DOTALL | re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"([\w-]+)\s*=\s*\"([^\"]*)\"")
_RULE = re.compile(r"\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?")
_BORDER = re.compile(r"(?<!\\)\|")
Span = tuple[int, int]


def elements(text: str, offset: int = 0) -> tuple[list[tuple[str, Node]], list[Span]]:
    """The XML elements of a text as pairs, and where they stand; what stands in others is part of these."""
    pairs: list[tuple[str, Node]] = []
    spans = []
    for found in _ELEMENT.finditer(text):
        pairs.append((found["tag"], _content(found, offset)))
        spans.append(found.span())
    return pairs, spans


def _content(found: re.Match[str], offset: int) -> Node:
    """What an element holds: its attributes and elements, or its text."""
    inner, start = found["in"], offset + found.start("in")
    attributes: list[tuple[str, Node]] = [
        (a[1], Scalar(a[2], offset + found.start("with") + a.start(2), True))
        for a in _ATTRIBUTE.finditer(found["with"])
    ]
    pairs, spans = elements(inner, start)
    if pairs and not without(inner, spans).strip():
        return Object([*attributes, *pairs])
    text = _scalar(inner, start)
    return Object([*attributes, (found["tag"], text)]) if attributes else text


def _scalar(text: str, start: int) -> Scalar:
    return Scalar(text.strip(), start + len(text) - len(text.lstrip()), True)


def without(text: str, spans: Sequence[Span]) -> str:
    """The text with these places blank; all others stay where they are."""
    for start, end in spans:
        text = text[:start] + " " * (end - start) + text[end:]
    return text


def tables(text: str, is_key: Callable[[str], bool]) -> Iterator[tuple[Node, Span]]:
    """The markdown tables of a text: an object a row, and where each stands.

    Args:
        is_key: tells a key that a verdict or reason stands beside: a table of such rows is one object.
    """
    lines: list[tuple[str, int]] = []
    start = 0
    for line in text.splitlines(keepends=True):
        lines.append((line, start))
        start += len(line)
    for at, (line, _) in enumerate(lines):
        if at and "|" in line and "|" in lines[at - 1][0] and _RULE.fullmatch(line.strip()):
            end = at + 1
            while end < len(lines) and "|" in lines[end][0]:
                end += 1
            head, *rows = [_cells(*row) for row in (lines[at - 1], *lines[at + 1 : end])]
            span = (lines[at - 1][1], lines[end - 1][1] + len(lines[end - 1][0]))
            for node in _rows(head, rows, is_key):
                yield node, span


def _cells(line: str, start: int) -> list[Scalar]:
    body = line.strip()
    start += line.index(body) + body.startswith("|")
    body = body.removeprefix("|").removesuffix("|")
    cells = []
    for part in _BORDER.split(body):
        cells.append(_scalar(part, start))
        start += len(part) + 1
    return cells


def _rows(
    head: Sequence[Scalar], rows: Sequence[Sequence[Scalar]], is_key: Callable[[str], bool]
) -> Iterator[Object]:
    if all(len(row) == 2 for row in rows) and any(is_key(row[0].text) for row in rows):
        yield Object([(key.text, value) for key, value in rows])
        return
    for row in rows:
        if len(row) == len(head):
            yield Object([(key.text, value) for key, value in zip(head, row, strict=True)])
