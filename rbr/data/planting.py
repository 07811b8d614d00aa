"""Sentences planted in gold answers, so that a grader learns a proposition apart from its usual company.

People's answers say certain things together: who refuses apologises, who comforts names a helpline. Heads that
learn from them alone read one proposition off another.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.data.rows import Labelled, Sentence
from rbr.data.words import STOPS, WIDE_STOPS, pieces, rejoined
from rbr.errors import DataError
from rbr.files import checked_rows, read_rows
from rbr.rules.yaml import suggest

if TYPE_CHECKING:
    from rbr.rules.rules import Rules

# Where a sentence may stand: between sentences, between paragraphs.
GAPS = re.compile(rf"\n\n+|(?<=[.!?{STOPS}])\s+|(?<=[{WIDE_STOPS}])(?=.)")
MOST = 2
NONSENSE_EVERY = 5
# Of the sentences' files, in the folder of the gold rows.
FOLDER = "sentences"


class Planted(Labelled):
    """A gold answer with planted sentences; of ``unknown`` nobody knows whether they hold."""

    unknown: tuple[str, ...] = ()


def sentence_errors(folder: Path, rules: Rules) -> Iterator[DataError]:
    """The sentences under a folder of gold rows that do not fit the rules, by file and line.

    Raises:
        DataError: on a folder without rows.
    """
    names = rules.proposition_names
    known = {"true": names, "unknown": names, "elsewhere": names}
    known["response_types"] = tuple(rules.response_types)
    if not (folder / FOLDER).is_dir():
        return
    for place, row in checked_rows(folder / FOLDER, Sentence):
        if isinstance(row, DataError):
            yield row
            continue
        for field, names in known.items():
            what = "response type" if field == "response_types" else "proposition"
            for name in getattr(row, field) or ():
                if name not in names:
                    yield DataError(f"{field}: no {what} '{name}'; {suggest(name, names)}", place)
        for field in ("true", "elsewhere"):
            problem = rules.relations.contradiction(getattr(row, field) or ())
            if problem:
                yield DataError(f"{field}: {problem}", place)


def read_sentences(folder: Path, rules: Rules) -> list[Sentence]:
    """The sentences under a folder of gold rows; none where it has no such folder.

    Raises:
        DataError: naming the file and line of the first one at fault.
    """
    for error in sentence_errors(folder, rules):
        raise error
    return read_rows(folder / FOLDER, Sentence) if (folder / FOLDER).is_dir() else []


def split_sentences(rows: Sequence[Sentence], roles: Sequence[str]) -> dict[str, list[Sentence]]:
    """Sentences by role, in turn: no two roles learn from the same wording."""
    return {role: list(rows[place :: len(roles)]) for place, role in enumerate(roles)}


def plant(
    rows: Sequence[Labelled],
    sentences: Sequence[Sentence],
    count: int,
    rules: Rules,
    seed: int,
) -> list[Planted]:
    """Gold answers with one or two sentences planted, each proposition as often as the others.

    Rows take turns. A sentence whose labels would contradict the answer's is left out, and an answer in
    which none was planted too: fewer than ``count`` may come back. Every ``NONSENSE_EVERY``-th answer is word salad instead: its own words, in any order.

    Returns:
        At most ``count`` rows, whose ids begin with those of the rows that they are made of.
    """
    draw, relations = random.Random(seed), rules.relations
    if not sentences or not rows:
        return []
    banks = {kind: _bank(sentences, kind) for kind in {row.response_type for row in rows}}
    made = []
    order = [
        i for _ in range(-(-count // len(rows))) for i in draw.sample(range(len(rows)), len(rows))
    ]
    for turn, i in enumerate(order[:count]):
        row = rows[i]
        if turn % NONSENSE_EVERY == 0 and rules.makes("nonsense") and row.completion.strip():
            made.append(_salad(row, turn, rules, draw))
            continue
        text, true, unknown = row.completion, set(row.true), set[str]()
        bank = banks[row.response_type]
        for _ in range(draw.randint(1, MOST) if bank else 0):
            sentence = draw.choice(bank[draw.choice(sorted(bank))])
            makes = sentence.makes(row.response_type) or ()
            if relations.contradiction(true.union(makes)):
                continue
            true.update(makes)
            unknown.update(sentence.unknown)
            text = _inserted(text, sentence.text, draw)
        if text != row.completion:
            made.append(_copy(row, turn, text, true, unknown - true))
    return made


def _bank(sentences: Sequence[Sentence], response_type: str) -> dict[str, list[Sentence]]:
    """The sentences that may stand in answers of a type, by what they make true there ("": nothing)."""
    bank: dict[str, list[Sentence]] = {}
    for sentence in sentences:
        makes = sentence.makes(response_type)
        if makes is not None:
            for name in makes or ("",):
                bank.setdefault(name, []).append(sentence)
    return bank


def _copy(
    row: Labelled, turn: int, text: str, true: Collection[str], unknown: Collection[str]
) -> Planted:
    fields = {**dict(row), "id": f"{row.id}-planted-{turn}", "completion": text}
    labels = {"true": tuple(sorted(true)), "unknown": tuple(sorted(unknown))}
    return Planted(**{**fields, **labels})


def _salad(row: Labelled, turn: int, rules: Rules, draw: random.Random) -> Planted:
    """An answer that makes no sense: which other propositions its words may still carry, nobody knows."""
    true = rules.makes("nonsense")
    excluded = {name for pair in rules.relations.excludes if true & set(pair) for name in pair}
    return _copy(
        row,
        turn,
        shuffled(row.completion, draw),
        true,
        set(rules.proposition_names) - true - excluded,
    )


def shuffled(text: str, draw: random.Random) -> str:
    """The words of a text in any order: word salad."""
    words = pieces(text)
    draw.shuffle(words)
    return rejoined(words, text)


def _inserted(text: str, sentence: str, draw: random.Random) -> str:
    """``text`` with a sentence before it, after it, or in a gap."""
    gaps = [(0, 0), (len(text), len(text)), *(gap.span() for gap in GAPS.finditer(text))]
    start, end = draw.choice([gaps[0], gaps[1], draw.choice(gaps)])
    before, after, apart = text[:start], text[end:], text[start:end]
    apart = apart or draw.choice([" ", " ", "\n\n"])
    return apart.join(part for part in (before, sentence, after) if part)
