"""Reading verdicts out of an answer: right ones, or none with the reason why.

Everything in the answer that says something of a proposition must agree: a text from which two verdicts
can be read has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from rbr.grading.chat.loose_json import Array, Broken, Node, Object, Scalar, values
from rbr.grading.chat.markup import elements, tables, without
from rbr.grading.chat.words import NO, YES, probability_of, refuses, refuses_to_grade

VERDICT_KEYS = (
    "verdict", "answer", "holds", "label", "decision", "value", "result", "judgement", "judgment", "grade",
    "satisfied", "present", "is_true", "true", "final", "final_answer", "final_verdict", "prediction", "output",
    "final_judgement", "final_judgment", "final_decision", "final_label", "overall_verdict", "determination",
    "conclusion", "response", "probability", "score", "p", "urteil", "réponse", "respuesta",
)  # fmt: skip
REASON_KEYS = (
    "reason", "rationale", "explanation", "reasoning", "justification", "why", "because", "evidence", "thought",
    "thoughts", "analysis", "comment", "begründung", "reasons", "rationales", "explanations", "grounds", "notes",
)  # fmt: skip
NAME_KEYS = (
    "proposition", "name", "id", "rule", "key", "statement", "question", "criterion", "item", "label_name", "category",
    "feature", "property",
)  # fmt: skip
# What stands around keys in lists and headings, and the numbers of lists.
_MARKS = " \t*_#>`•+-|"
_NUMBERED = re.compile(r"\(?\d{1,3}[.)](?=\s)")
_KEY = re.compile(r"([\w -]{1,60}?)[\s*_`]*(?:[:=：→—–]|->)")
_HEADING = re.compile(r"[\w -]{1,60}")
# "The verdict is: true", "The statement `name` is false". What "the answer" is may be the judged one.
_SENTENCE = re.compile(
    r"(?:(?:so|thus|therefore|hence)\b,?\s*)?"
    r"(?:(?:the|my)\s+(?:final\s+)?(?:(?:verdict|judge?ment|decision|label)\s+is:?|answer\s+is:)"
    r"|(?:the|this)\s+statement\s+(?:[`\"'](?P<name>\w+)[`\"']\s+)?is)"
    r"[\s*_`\"]*(?P<verdict>true|false|yes|no)[\s*_`\".!]*",
    re.IGNORECASE,
)
# A text of YAML that begins in the next line.
_BLOCK = re.compile(r"[>|][+-]?")
# Grounds in the same line: "true, reason: ...".
_GROUNDS = re.compile(
    rf"[,;.|–—\n-][ \t\n]{{0,8}}[*_]{{0,3}}(?:{'|'.join(REASON_KEYS)})[*_]{{0,3}} ?[:=：]",
    re.IGNORECASE,
)
# \boxed{Yes}, \boxed{\text{Yes}}, <|begin_of_box|>Yes<|end_of_box|>
_BOXED = re.compile(
    r"\\f?boxed\s*\{\s*(?:\\(?:text|mathrm|mathbf)\w*\s*\{)?(?P<math>[^{}\\]*)\}"
    r"|<\|begin_of_box\|>(?P<mark>.*?)<\|end_of_box\|>",
    re.DOTALL,
)


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
        nodes = _nodes(text)
    except Broken:
        return Reading(problem="its JSON is broken")
    reader.declined = refuses_to_grade(text)
    for node in nodes:
        reader.node(node)
    if any(map(_torn, nodes)):
        return Reading(problem="its JSON ends within a text")
    if not reader.found and not any(map(holds_object, nodes)):
        if refuses(text):
            return Reading(problem="it refuses to answer", refused=True)
        reader.prose(text)
    return reader.reading()


def _nodes(text: str) -> list[Node]:
    """The objects and arrays of a text, or of the one that it is as a quoted text."""
    if text.strip().startswith('"'):
        import json

        try:
            inner = json.loads(text)
        except ValueError:
            inner = None
        if isinstance(inner, str) and whole_json(inner.strip()):
            return [_placeless(node) for node in values(inner)]
    return list(values(text))


def _placeless(node: Node) -> Node:
    """A node of a text within a string: its places are not those of the answer."""
    if isinstance(node, Scalar):
        return replace(node, start=-1)
    if isinstance(node, Array):
        return Array([_placeless(item) for item in node.items])
    return Object([(key, _placeless(value)) for key, value in node.pairs])


def holds_object(node: Node) -> bool:
    """Whether it is JSON that answers, and not a bracket of the prose."""
    return isinstance(node, Object) or (
        isinstance(node, Array) and any(map(holds_object, node.items))
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
        pairs = [(plain(key), _unwrapped(plain(key), value)) for key, value in node.pairs]
        named = [
            value.text for key, value in pairs if key in NAME_KEYS and isinstance(value, Scalar)
        ]
        own = [self.names[plain(text)] for text in named if plain(text) in self.names]
        others = [text for text in named if plain(text) in self.known]
        if name is None:
            # Of another proposition, it says nothing of the one that was asked for.
            name = own[0] if own else None if others else self.only
        reason = _reason(pairs, REASON_KEYS)
        declines = refuses_to_grade(reason)
        self.declined |= declines
        for key, value in pairs:
            if declines and isinstance(value, Scalar):
                continue  # whatever verdict stands beside it
            if key in self.names:
                self._value(value, self.names[key], self._own_reason(pairs, key) or reason)
            elif key in self.keys and isinstance(value, Scalar):
                if name is not None:
                    self._value(value, name, reason)
            elif not isinstance(value, Scalar) and key not in self.known:
                self.node(value, name if name != self.only else None)

    def _own_reason(self, pairs: Sequence[tuple[str, Node]], name: str) -> str:
        """The reason that has a proposition's name in its key: ``apology_reason``."""
        reason = _reason(pairs, [f"{name}_{key}" for key in REASON_KEYS])
        self.declined |= refuses_to_grade(reason)
        return reason

    def _value(self, value: Node, name: str, reason: str) -> None:
        if not isinstance(value, Scalar):
            self.node(value, name)
            return
        unfinished = not value.whole and value.text.casefold() not in ("true", "false")
        probability = None if unfinished else probability_of(value.text)
        if probability is not None:
            start = value.start if value.start >= 0 else None
            self.found.setdefault(name, []).append(Said(probability, reason, start))
        self.declined |= refuses(value.text)

    def prose(self, text: str) -> None:
        """Verdicts of an answer without JSON: XML, tables, boxes, lines ``name: word``, or a word."""
        pairs, spans = elements(text)
        self.node(Object(pairs))
        for node, span in tables(text, self._is_key):
            self.node(node)
            spans.append(span)
        for box in _BOXED.finditer(text):
            group = "math" if box["math"] is not None else "mark"
            if self._add(self.only, box[group], box.start(group)):
                spans.append(box.span())
        if self.found:
            text = without(text, spans)
            self._add(self.only, text, 0)  # a word beside them
        self._lines(text)

    def _is_key(self, text: str) -> bool:
        key = plain(text)
        if key in self.known or key in REASON_KEYS:
            return True
        # "True" in a line of its own is the verdict.
        return key in self.keys and probability_of(text) is None

    def _add(self, name: str | None, value: str, start: int, reason: str = "") -> bool:
        """Take a verdict on a proposition; whether the text is one."""
        probability = probability_of(value)
        if name is None or probability is None:
            return False
        said = Said(probability, reason, start + _indent(value))
        self.found.setdefault(name, []).append(said)
        return True

    def _lines(self, text: str) -> None:
        reason, of, last = "", self.only, None
        reasons: dict[str, str] = {}
        for key, value, start in _statements(text, self._is_key):
            if key in REASON_KEYS:
                reason = value
                if last is not None:
                    reasons.setdefault(last, value)
                continue
            name = self.names.get(key) or (of if key in self.keys else None)
            verdict, grounds = self._with_grounds(value)
            if self._add(name, verdict, start, grounds):
                last = name
            elif key in self.known and probability_of(value) is None:
                of = last = self.names.get(key)  # a heading: what follows is of this proposition
        self.declined |= refuses_to_grade(reason)
        self._word(text, reason)
        if len(self.names) == 1:  # whatever stands before or after is its own
            reasons = dict.fromkeys(self.found, reason) | reasons
        for name, said in self.found.items():
            self.found[name] = [replace(s, reason=s.reason or reasons.get(name, "")) for s in said]

    def _word(self, text: str, reason: str) -> None:
        """Take an answer that is a word, with what follows it."""
        if self.only is None or self.found:
            return
        start = len(text) - len(text.lstrip())
        text = text.strip()
        if text.startswith("```") and text.endswith("```") and "\n" in text:
            fence = text.index("\n") + 1
            start, text = start + fence, text[fence:-3].rstrip()
        first, _, rest = text.partition("\n")
        # What follows may be grounds, in lines of their own, and nothing else.
        verdict, grounds = self._with_grounds(
            first if plain(rest).startswith(REASON_KEYS) else text
        )
        self._add(self.only, verdict, start, reason or grounds or rest.strip())

    def _with_grounds(self, text: str) -> tuple[str, str]:
        """A verdict and the grounds that the same line names: ``true, reason: ...``."""
        match = _GROUNDS.search(text)
        if match is None:
            return text, ""
        grounds = text[match.end() :].strip(_MARKS)
        self.declined |= refuses_to_grade(grounds)
        return text[: match.start()], grounds


def _unwrapped(key: str, value: Node) -> Node:
    """The arguments of a function's call, where they are JSON in a text."""
    is_json = key in ("arguments", "parameters") and isinstance(value, Scalar)
    if isinstance(value, Scalar) and is_json and whole_json(value.text.strip()):
        return Array([_placeless(node) for node in values(value.text)])
    return value


def _reason(pairs: Sequence[tuple[str, Node]], keys: Collection[str]) -> str:
    """The text of the first pair with one of the keys."""
    return next((text for key, value in pairs if key in keys and (text := _text(value))), "")


def _text(node: Node) -> str:
    """What a reason says: a text, a list of such, or an object with such."""
    if isinstance(node, Scalar):
        return "" if not node.quoted and node.text.casefold() in ("null", "none") else node.text
    parts = node.items if isinstance(node, Array) else [value for _, value in node.pairs]
    return " ".join(filter(None, map(_text, parts)))


def _statements(text: str, is_key: Callable[[str], bool]) -> Iterator[tuple[str, str, int]]:
    """(key, value, where it begins) of lines ``key: value`` and of headings with what follows them."""
    open_: tuple[str, int] | None = None
    start = 0
    for line in text.splitlines(keepends=True):
        bare = line.rstrip("\r\n")
        heading = _heading(bare, is_key)
        found = None if heading else _statement(bare)
        if found or heading:
            yield from _section(text, open_, start)
            open_ = (plain(heading), start + len(line)) if heading else None
        if found:
            key, value, at = found
            yield key, value, start + at
        start += len(line)
    yield from _section(text, open_, start)


def _heading(line: str, is_key: Callable[[str], bool]) -> str | None:
    """The key that a line is the heading of, by its marks or its colon, if any."""
    pair = _pair(line)
    key = line[_lead(line) :].rstrip(" \t*_`#:：")
    if pair and _BLOCK.fullmatch(pair[1]):
        key = pair[0]
    elif pair or not (
        line.lstrip().startswith(("#", "**", "__")) or line.rstrip(" \t*_`").endswith((":", "："))
    ):
        return None
    return key if _HEADING.fullmatch(key) and is_key(key) else None


def _statement(line: str) -> tuple[str, str, int] | None:
    """(key, value, where it begins) of a line."""
    if (sentence := _SENTENCE.match(line, _lead(line))) and sentence.end() == len(line):
        key = plain(sentence["name"] or "verdict")
        return key, sentence["verdict"], sentence.start("verdict")
    return _pair(line)


def _pair(line: str) -> tuple[str, str, int] | None:
    match = _KEY.match(line, _lead(line))
    if match is None:
        return None
    value = line[match.end() :].lstrip(" \t*_`")
    at = len(line) - len(value)
    return (plain(match[1]), value.rstrip(), at) if value else None


def _lead(line: str) -> int:
    """Where a line begins behind its marks and number."""
    at = len(line) - len(line.lstrip(_MARKS))
    if number := _NUMBERED.match(line, at):
        at = len(line) - len(line[number.end() :].lstrip(_MARKS))
    return at


def _section(
    text: str, heading: tuple[str, int] | None, end: int
) -> Iterator[tuple[str, str, int]]:
    if heading is not None:
        key, start = heading
        body = text[start:end]
        yield key, body.strip(), start + len(body) - len(body.lstrip())


def _indent(text: str) -> int:
    """Where the first letter or digit stands."""
    found = re.search(r"[^\W_]", text)
    return found.start() if found else 0
