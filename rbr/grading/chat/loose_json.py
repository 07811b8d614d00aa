"""JSON as models write it: in prose, with single quotes, Python's words, trailing commas, or torn.

Values keep their place in the text, so that the token that carries one can be found. Quotes inside a
string that nobody escaped stay part of it: a quote ends a string only where JSON could go on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "«": "»", "`": "`"}
_SPACE = re.compile(r"(?:\s|(?://|#)[^\n]*(?=\n)|/\*.*?\*/)*", re.DOTALL)
_BARE = re.compile(r"[^\s,:：{}\[\]\"]+(?: +(?!#|//|/\*)[^\s,:：{}\[\]\"]+)*")
_KEY = re.compile(r"""\s*(?:["'“„«`}]|\w+\s*[:：]|\Z)""")
# What may follow a string in an array.
ITEMS = ",]"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
DEEPEST = 40


@dataclass(frozen=True)
class Scalar:
    """A string, number or word.

    Attributes:
        start: where its text begins, behind the quote.
        whole: False where the text ends inside it.
    """

    text: str
    start: int
    quoted: bool
    whole: bool = True


@dataclass
class Object:
    """Pairs in order: a key may stand twice."""

    pairs: list[tuple[str, Node]] = field(default_factory=list)


@dataclass
class Array:
    items: list[Node] = field(default_factory=list)


Node = Scalar | Object | Array


class Broken(Exception):
    """Text that goes on as no JSON could."""


class _End(Exception):
    """The text ends within a value."""


def values(text: str) -> Iterator[Object | Array]:
    """The objects and arrays that stand in a text, outermost ones; of a torn one what there is.

    Raises:
        Broken: at one that begins well and goes wrong: what stands in it cannot be told from what it
            quotes.
    """
    at = 0
    while (found := re.compile(r"[{\[]").search(text, at)) is not None:
        reader = _Reader(text, found.start())
        node: Object | Array = Object() if found[0] == "{" else Array()
        try:
            reader.fill(node)
        except _End:
            yield node
            return
        except Broken:
            if isinstance(node, Object) and node.pairs:
                raise
            at = found.end()  # a bracket of the prose
            continue
        yield node
        at = reader.at


class _Reader:
    """Reads one value from ``at`` on."""

    def __init__(self, text: str, at: int, depth: int = 0) -> None:
        self.text, self.at, self.depth = text, at, depth

    def fill(self, node: Object | Array) -> None:
        """Read an object or array, from its bracket on, into ``node``: it has what was read in time."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise Broken
        closing = "}" if isinstance(node, Object) else "]"
        self.at += 1
        while True:
            if self._skip() == closing:
                self.at += 1
                self.depth -= 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                continue
            if isinstance(node, Object):
                key = self._scalar(":：")
                if self._skip() not in ":：":
                    raise Broken
                self.at += 1
                name, pairs = key.text, node.pairs
                self._value(lambda value, name=name, pairs=pairs: pairs.append((name, value)))  # type: ignore[misc]
            else:
                self._value(node.items.append, ITEMS)
            if self._skip() not in "," + closing:
                raise Broken

    def _skip(self) -> str:
        """The next character that counts."""
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        if self.at >= len(self.text):
            raise _End
        return self.text[self.at]

    def _value(self, keep: Callable[[Node], None], after: str = ",}]") -> None:
        first = self._skip()
        if first in "{[":
            node: Object | Array = Object() if first == "{" else Array()
            keep(node)
            self.fill(node)
            return
        keep(self._scalar(after))

    def _scalar(self, after: str) -> Scalar:
        first = self._skip()
        if first in QUOTES:
            return self._string(QUOTES[first], after)
        match = _BARE.match(self.text, self.at)
        if not match:
            raise Broken
        start, self.at = self.at, match.end()
        return Scalar(match[0].strip(), start, False, self.at < len(self.text))

    def _string(self, quote: str, after: str) -> Scalar:
        start, at = self.at + 1, self.at + 1
        parts: list[str] = []
        while at < len(self.text):
            character = self.text[at]
            if character == "\\" and at + 1 < len(self.text):
                following = self.text[at + 1]
                code = self.text[at + 2 : at + 6]
                if following == "u" and re.fullmatch("[0-9a-fA-F]{4}", code):
                    parts.append(chr(int(code, 16)))
                    at += 6
                else:
                    parts.append(_ESCAPES.get(following, following))
                    at += 2
                continue
            if character == quote and self._ends(at + 1, after):
                self.at = at + 1
                return Scalar(_joined(parts), start, True)
            parts.append(character)
            at += 1
        self.at = len(self.text)
        return Scalar(_joined(parts), start, True, whole=False)

    def _ends(self, at: int, after: str) -> bool:
        """Whether a quote before ``at`` may end its string."""
        match = _SPACE.match(self.text, at)
        at = match.end() if match else at
        if at >= len(self.text) or self.text[at] not in after:
            return at >= len(self.text)
        # In an object another key follows: "so", as here, is a word in quotes.
        return self.text[at] != "," or after == ITEMS or bool(_KEY.match(self.text, at + 1))


def _joined(parts: list[str]) -> str:
    """The text, the two halves of an escaped emoji put together."""
    return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
