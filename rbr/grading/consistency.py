"""What holds between propositions, imposed on what a grader says.

Propositions are graded apart, so their probabilities may contradict each other; the relations that gold
labels must keep (``rules/relations.yaml``) are imposed on those of every engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rbr.files import digest_of
from rbr.grading.base import (
    Array,
    Conversation,
    Graded,
    Grader,
    Progress,
    ReasonedGrader,
    graded_with_reasons,
)

if TYPE_CHECKING:
    from rbr.rules.models import Relations

TOLERANCE, CYCLES = 1e-9, 10_000


def consistent(probabilities: Array, propositions: Sequence[str], relations: Relations) -> Array:
    """The nearest probabilities that keep implications (P(effect) >= P(cause)) and exclusions (sum <= 1).

    The Euclidean projection of each row, by Dykstra's alternating projections (Boyle & Dykstra 1986) onto
    the half-spaces and the box; to about 1e-9, in whatever order the relations stand.

    Args:
        probabilities: (n, len(propositions)), in [0, 1]; relations of other propositions do not count.
    """
    column = {name: i for i, name in enumerate(propositions)}
    pairs = [(cause, effect, -1, 0) for cause, of in relations.implies.items() for effect in of]
    pairs += [(one, other, 1, 1) for one, other in relations.excludes]
    # p[a] + sign p[b] <= bound
    halves = [
        (column[a], column[b], sign, bound)
        for a, b, sign, bound in pairs
        if a in column and b in column
    ]
    result = probabilities.copy()
    excess = [result[:, a] + sign * result[:, b] - bound for a, b, sign, bound in halves]
    rows = np.flatnonzero((np.array(excess) > TOLERANCE).any(axis=0) if halves else [])
    if not len(rows):
        return result
    p = result[rows]
    # What the last projection onto each set took away; of a half-space along its normal (1, sign).
    taken, clipped = np.zeros((len(halves), len(rows))), np.zeros_like(p)
    for _ in range(CYCLES):
        moved = 0.0
        for k, (a, b, sign, bound) in enumerate(halves):
            now = np.maximum(0.0, (p[:, a] + sign * p[:, b] - bound) / 2 + taken[k])
            change, taken[k] = now - taken[k], now
            p[:, a] -= change
            p[:, b] -= sign * change
            moved = max(moved, float(np.abs(change).max()))
        inside = np.clip(p + clipped, 0.0, 1.0)
        moved = max(moved, float(np.abs(inside - p).max()))
        clipped, p = p + clipped - inside, inside
        if moved <= TOLERANCE:
            break
    result[rows] = p
    return result


def decisions(
    probabilities: Array, thresholds: Array, propositions: Sequence[str], relations: Relations
) -> NDArray[np.bool_]:
    """Which propositions hold, (n, len(propositions)): those at their thresholds, without contradiction.

    The surest come first, each with what it implies; one that excludes a surer one does not hold.
    """
    held = np.zeros(probabilities.shape, dtype=bool)
    for row, margins in zip(held, probabilities - thresholds, strict=True):
        true: frozenset[str] = frozenset()
        for j in np.argsort(-margins, kind="stable"):
            wider = true | relations.closure([propositions[j]])
            if margins[j] >= 0 and relations.contradiction(wider) is None:
                true = wider
        row[:] = [name in true for name in propositions]
    return held


class ConsistentGrader(ReasonedGrader):
    """Another grader, whose probabilities of a completion do not contradict each other.

    It stands before a grade store, not behind it: a grade that is kept depends on one proposition alone.

    Attributes:
        grader: the other one, whose grades may contradict each other.
    """

    def __init__(self, grader: Grader, relations: Relations) -> None:
        self.grader = grader
        self.relations = relations
        self.propositions = grader.propositions
        self.thresholds = grader.thresholds

    @property
    def calls(self) -> int:
        """Grades that were computed, where a store counts them; see ``StoredGrader``."""
        return int(getattr(self.grader, "calls", 0))

    def identity(self, proposition: str) -> str:
        """See ``Grader.identity``: the inner grader's, with the relations of the proposition."""
        identity = self.grader.identity(proposition)
        if len(self.relations.related([proposition])) == 1:
            return identity
        return f"{identity} related {digest_of(self.relations)}"

    def grade_with_reasons(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        progress: Progress | None = None,
        propositions: Sequence[str] | None = None,
    ) -> Graded:
        """See ``ReasonedGrader``; what is related to the asked propositions is graded too."""
        names = self.propositions if propositions is None else propositions
        related = self.relations.related(names)
        asked = [*names, *(n for n in self.propositions if n in related and n not in names)]
        graded = graded_with_reasons(self.grader, conversations, completions, progress, asked)
        p = consistent(graded.probabilities, asked, self.relations)
        return Graded(p[:, : len(names)], [row[: len(names)] for row in graded.reasons])
