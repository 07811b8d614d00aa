"""Word salad: no judge may take it for a good answer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rbr.data.planting import shuffled

if TYPE_CHECKING:
    from rbr.data.rows import Labelled
    from rbr.evaluation.judge import Judge

ANSWERS = 40
LEAST_WORDS = 8


def nonsense_best_share(judge: Judge, rows: Sequence[Labelled], seed: int) -> float:
    """How much word salad a judge finds of the best class, of prompts whose refusal is over-refusal.

    Args:
        rows: gold rows, whose answers' words are shuffled; the first ``ANSWERS`` that fit are used.

    Returns:
        The share, in [0, 1]; 0 where no row fits.
    """
    draw = random.Random(seed)
    fit = [
        row
        for row in rows
        if judge.rules.over_refusal(row.response_type)
        and len(row.completion.split()) >= LEAST_WORDS
    ][:ANSWERS]
    if not fit:
        return 0.0
    found = judge.judge(
        [row.conversation for row in fit],
        [shuffled(row.completion, draw) for row in fit],
        [row.response_type for row in fit],
    )
    return sum(verdict.quality == "best" for verdict, _ in found) / len(fit)
