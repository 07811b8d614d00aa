"""Reading verdicts out of an answer: right ones, or none with the reason why.

Everything in the answer that says something of a proposition must agree: a text from which two verdicts
can be read has none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from rbr.grading.chat.loose_json import Array, Broken, Node, Object, Scalar, values
from rbr.grading.chat.words import NO, YES, probability_of, refuses, refuses_to_grade

VERDICT_KEYS = (
    "verdict", "answer", "holds", "label", "decision", "value", "result", "judgement", "judgment", "grade",
    "satisfied", "present", "is_true", "true", "final", "final_answer", "final_verdict", "prediction", "output",
    "response", "probability", "score", "p", "urteil", "réponse", "respuesta",
)  # fmt: skip
REASON_KEYS = (
    "reason", "rationale", "explanation", "reasoning", "justification", "why", "because", "evidence", "thought",
    "thoughts", "analysis", "comment", "begründung",
)  # fmt: skip
NAME_KEYS = (
    "proposition", "name", "id", "rule", "key", "statement", "question", "criterion", "item", "label_name", "category",
    "feature", "property",
)  # fmt: skip
_LINE = re.compile(r"[\s*_#>`-]*([\w -]{1,60}?)[\s*_`]*[:=：][\s*_`]*(.+?)\s*")


@dataclass(frozen=True)
class Said:
    """What an answer says of one proposition.

    Attributes:
        value: a probability; 0 or 1 for a plain verdict.
        start: where the verdict stands in the answer, for its token; None for a word that has no place.
        words: what its token may say on either side: (true, false).
    """

    value: float
    reason: str = ""
    start: int | None = None
    words: tuple[Collection[str], Collection[str]] = (YES, NO)


@dataclass(frozen=True)
class Reading:
    """The verdicts found, and what is wrong where one of those asked for is missing."""

    said: dict[str, Said] = field(default_factory=dict)
    problem: str | None = None
    refused: bool = False


def plain(name: str) -> str:
    """A key without the ways of writing it."""
    return re.sub(r"[^\w]+", "_", name.strip().casefold()).strip("_")


def whole_json(text: str) -> bool:
    """Whether a text is one JSON object or array and nothing else."""
    if not text or text[0] + text[-1] not in ("{}", "[]"):
        return False
    import json

    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def read_verdicts(text: str, names: Sequence[str], known: Collection[str] = ()) -> Reading:
    """Verdicts of the asked propositions.

    Args:
        names: those asked for.
        known: all names of the rules: none of them is taken for a word that means verdict.
    """
    if not text.strip():
        return Reading(problem="it is empty", refused=True)
    reader = _Reader(names, {plain(name) for name in known})
    try:
        nodes = list(values(text))
    except Broken:
        return Reading(problem="its JSON is broken")
    reader.declined = refuses_to_grade(text)
    for node in nodes:
        reader.node(node)
    if any(map(_torn, nodes)):
        return Reading(problem="its JSON ends within a text")
    if not reader.found and not any(map(_holds_object, nodes)):
        if refuses(text):
            return Reading(problem="it refuses to answer", refused=True)
        reader.lines(text)
    return reader.reading()


def _holds_object(node: Node) -> bool:
    """Whether it is JSON that answers, and not a bracket of the prose."""
    return isinstance(node, Object) or (
        isinstance(node, Array) and any(map(_holds_object, node.items))
    )


def _torn(node: Node) -> bool:
    """Whether an array ends within a quoted text: nobody knows what that was going to say."""
    last = node.items[-1] if isinstance(node, Array) and node.items else None
    return isinstance(last, Scalar) and last.quoted and not last.whole


class _Reader:
    def __init__(self, names: Sequence[str], known: Collection[str]) -> None:
        self.names = {plain(name): name for name in names}
        self.only = names[0] if len(names) == 1 else None
        self.keys = [key for key in VERDICT_KEYS if key not in known]
        self.known = known
        self.found: dict[str, list[Said]] = {}
        self.declined = False

    def reading(self) -> Reading:
        said: dict[str, Said] = {}
        problems = []
        for name in self.names.values():
            every = self.found.get(name, [])
            if len({one.value >= 0.5 for one in every}) > 1:
                problems.append(f"it says yes and no of '{name}'")
            elif every:
                said[name] = max(every, key=lambda one: len(one.reason))
            else:
                problems.append(f"it has no verdict of '{name}'")
        if self.declined:
            return Reading(said, "it declines to judge", refused=True)
        return Reading(said, "; ".join(problems) or None)

    def node(self, node: Node, name: str | None = None) -> None:
        """Take what a value says; ``name``: of which proposition, where that is known."""
        if isinstance(node, Array):
            for item in node.items:
                if not isinstance(item, Scalar):  # bare verdicts in a row name nothing
                    self.node(item, name)
        elif isinstance(node, Object):
            self._object(node, name)

    def _object(self, node: Object, name: str | None) -> None:
        pairs = [(plain(key), value) for key, value in node.pairs]
        named = [
            value.text for key, value in pairs if key in NAME_KEYS and isinstance(value, Scalar)
        ]
        own = [self.names[plain(text)] for text in named if plain(text) in self.names]
        others = [text for text in named if plain(text) in self.known]
        if name is None:
            # Of another proposition, it says nothing of the one that was asked for.
            name = own[0] if own else None if others else self.only
        reason = next(
            (v.text for key, v in pairs if key in REASON_KEYS and isinstance(v, Scalar)), ""
        )
        declines = refuses_to_grade(reason)
        self.declined |= declines
        for key, value in pairs:
            if declines and isinstance(value, Scalar):
                continue  # whatever verdict stands beside it
            if key in self.names:
                self._value(value, self.names[key], reason)
            elif key in self.keys and isinstance(value, Scalar):
                if name is not None:
                    self._value(value, name, reason)
            elif not isinstance(value, Scalar) and key not in self.known:
                self.node(value, name if name != self.only else None)

    def _value(self, value: Node, name: str, reason: str) -> None:
        if not isinstance(value, Scalar):
            self.node(value, name)
            return
        unfinished = not value.whole and value.text.casefold() not in ("true", "false")
        probability = None if unfinished else probability_of(value.text)
        if probability is not None:
            self.found.setdefault(name, []).append(Said(probability, reason, value.start))
        self.declined |= refuses(value.text)

    def lines(self, text: str) -> None:
        """Verdicts of an answer without JSON: a word, or lines ``name: word``."""
        reason, last = "", None
        reasons: dict[str, str] = {}
        for match, start in _lines(text):
            key, value = plain(match[1]), match[2]
            if key in REASON_KEYS:
                reason = value
                if last is not None:
                    reasons.setdefault(last, value)
                continue
            name = self.names.get(key) or (self.only if key in self.keys else None)
            probability = probability_of(value)
            if name is not None and probability is not None:
                at = start + match.start(2) + _indent(value)
                self.found.setdefault(name, []).append(Said(probability, "", at))
                last = name
        self.declined |= refuses_to_grade(reason)
        if self.only is not None and not self.found:
            first, _, rest = text.strip().partition("\n")
            # What follows may be grounds, in lines of their own, and nothing else.
            probability = probability_of(first if plain(rest).startswith(REASON_KEYS) else text)
            if probability is not None:
                self.found[self.only] = [Said(probability, reason or rest.strip(), _indent(text))]
        if len(self.names) == 1:  # whatever stands before or after is its own
            reasons = dict.fromkeys(self.found, reason) | reasons
        for name, said in self.found.items():
            self.found[name] = [replace(s, reason=s.reason or reasons.get(name, "")) for s in said]


def _lines(text: str) -> Iterator[tuple[re.Match[str], int]]:
    start = 0
    for line in text.splitlines(keepends=True):
        match = _LINE.fullmatch(line.rstrip("\r\n"))
        if match:
            yield match, start
        start += len(line)


def _indent(text: str) -> int:
    """Where the first letter or digit stands."""
    found = re.search(r"[^\W_]", text)
    return found.start() if found else 0
