"""Word salad: no judge may take it for a good answer."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rbr.data.planting import shuffled
from rbr.data.words import pieces

if TYPE_CHECKING:
    from rbr.data.rows import Labelled
    from rbr.evaluation.judge import Judge
    from rbr.rules.rules import Rules

ANSWERS = 40
LEAST_WORDS = 8


def word_salad(rows: Sequence[Labelled], rules: Rules, seed: int) -> list[Labelled]:
    """Answers with their words in any order, to prompts whose refusal is over-refusal.

    Args:
        rows: gold rows; of those that fit the first ``ANSWERS`` are used.
    """
    draw = random.Random(seed)
    fit = (
        row
        for row in rows
        if rules.over_refusal(row.response_type) and len(pieces(row.completion)) >= LEAST_WORDS
    )
    return [
        row.model_copy(update={"completion": shuffled(row.completion, draw)})
        for row in itertools.islice(fit, ANSWERS)
    ]


def nonsense_best_share(judge: Judge, rows: Sequence[Labelled], seed: int) -> float:
    """How much word salad of gold rows a judge finds of the best class.

    Returns:
        The share, in [0, 1]; 0 where no row fits.
    """
    salad = word_salad(rows, judge.rules, seed)
    if not salad:
        return 0.0
    found = judge.judge(
        [row.conversation for row in salad],
        [row.completion for row in salad],
        [row.response_type for row in salad],
    )
    return sum(verdict.quality == "best" for verdict, _ in found) / len(salad)
