"""The probability of a verdict, from the log-probabilities of its token or from samples."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from functools import partial

import numpy as np

from rbr.grading.chat.reading import Said
from rbr.grading.chat.words import AROUND
from rbr.models.chat import ChatAnswer, TokenLogprob
from rbr.models.chat.answer import NOT_SENT

ROUNDING = 1e-3
_TORN = re.compile(r"\\x[0-9a-f]{2}|[^!-~]")


def by_logprobs(answer: ChatAnswer, said: Said) -> float | None:
    """P(true) of the token that carries a verdict: the mass of both sides' spellings, normalised.

    None where the server sent none for it, or the token says no side.
    """
    # A share that the model states is a probability itself.
    plain = said.start is not None and said.value in (0.0, 1.0)
    token = _token_at(answer, said.start or 0) if plain else None
    if token is None:
        return None
    masses: dict[bool, list[float]] = {True: [], False: []}
    for text, logprob in dict(((token.text, token.logprob), *token.top)).items():
        if not NOT_SENT < logprob <= ROUNDING:  # NaN is neither
            continue
        side = _side(text, said.words)
        if side is not None:
            masses[side].append(logprob)
    if not masses[said.value >= 0.5]:
        return None
    yes, no = (math.fsum(np.exp(masses[side])) for side in (True, False))
    return yes / (yes + no) if yes + no > 0 else None


def by_samples(values: Sequence[float]) -> float:
    """The share of samples that say yes, as if half a one said each besides (Krichevsky-Trofimov)."""
    return (math.fsum(value >= 0.5 for value in values) + 0.5) / (len(values) + 1)


def _token_at(answer: ChatAnswer, start: int) -> TokenLogprob | None:
    """The token in which a place of the content lies."""
    written = "".join(token.text for token in answer.logprobs)
    of: Callable[[str], str] = str
    if answer.content not in written:
        # Spaces as Ġ or left out, characters torn into bytes: what all servers write alike.
        of = partial(_TORN.sub, "")
        written = "".join(of(token.text) for token in answer.logprobs)
    content = of(answer.content)
    offset = written.rfind(content)
    if not content or offset < 0:
        return None
    place, end = offset + len(of(answer.content[:start])), 0
    for token in answer.logprobs:
        end += len(of(token.text))
        if place < end:
            return token
    return None


def _side(text: str, words: tuple[Collection[str], Collection[str]]) -> bool | None:
    """The side whose words begin as a token does, if it is one side alone."""
    spelt = text.strip(AROUND).casefold()
    if not spelt:
        return None
    sides = [
        side
        for side, of in ((True, words[0]), (False, words[1]))
        if any(word.startswith(spelt) for word in of)
    ]
    return sides[0] if len(sides) == 1 else None
