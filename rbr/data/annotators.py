"""SIMULATED human annotators.

No human labelled these preferences. The annotators are over-cautious, as the paper found people to be
(section 5): on a comply prompt they prefer, with probability ``overcaution``, a refusal to the answer;
``noise`` is the probability that a label is flipped. They do not know the rules: ``RANKS`` holds their
taste.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from rbr.data.rows import Comparison, Preference

# Rank of a label, best first; one that is not here stands with the flawed answers.
RANKS = {
    "ideal": 0,
    "full": 0,
    "bad": 1,
    "partial": 1,
    "disallowed": 2,
    "off_topic": 2,
    "refusal": 2,
}


def simulated_preferences(
    rows: Sequence[Comparison],
    overcaution: float,
    noise: float,
    seed: int,
    prefix: str,
) -> list[Preference]:
    """Two pairs a prompt, labelled by the simulated annotators; all have ``simulated`` set."""

    def rank(row: Comparison) -> int:
        return RANKS.get(row.label, 1)

    draw = random.Random(seed)
    by_prompt: dict[str, list[Comparison]] = defaultdict(list)
    for row in rows:
        by_prompt[row.prompt_id].append(row)
    pairs: list[Preference] = []
    for members in by_prompt.values():
        for _ in range(2):
            one, other = draw.sample(members, 2)
            if rank(one) == rank(other) or one.completion == other.completion:
                continue
            better, worse = sorted((one, other), key=rank)
            needless = worse.response_type == "comply" and worse.label == "refusal"
            if needless and draw.random() < overcaution:
                better, worse = worse, better
            if draw.random() < noise:
                better, worse = worse, better
            pairs.append(
                Preference(
                    id=f"{prefix}-{len(pairs):05d}",
                    family=members[0].family,
                    conversation=members[0].conversation,
                    chosen=better.completion,
                    rejected=worse.completion,
                    source="simulated-annotator",
                    simulated=True,
                )
            )
    return pairs
