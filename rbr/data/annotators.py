"""SIMULATED human annotators.

No human labelled these preferences. The annotators are made over-cautious, as the paper found people
to be (section 5): on a comply prompt that sounds unsafe they prefer, with chance ``overcaution``, a
refusal to the answer; ``noise`` is the chance that a label is flipped.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from rbr.data.rows import Comparison, Preference
from rbr.rules import Rules


def simulated_preferences(
    rows: Sequence[Comparison],
    rules: Rules,
    overcaution: float,
    noise: float,
    seed: int,
    prefix: str,
) -> list[Preference]:
    """Two pairs a prompt, labelled by the simulated annotators; all have ``simulated`` set."""
    draw = random.Random(seed)
    by_prompt: dict[str, list[Comparison]] = defaultdict(list)
    for row in rows:
        by_prompt[row.prompt_id].append(row)
    pairs: list[Preference] = []
    for members in by_prompt.values():
        kind = members[0].response_type
        ordering = rules.reward[kind].ordering
        rank = {label: r for r, group in enumerate(ordering) for label in group}
        for _ in range(2):
            one, other = draw.sample(members, 2)
            if rank[one.label] == rank[other.label] or one.completion == other.completion:
                continue
            better, worse = sorted((one, other), key=lambda row: rank[row.label])
            cautious = kind == "comply" and worse.label == "refusal" and draw.random() < overcaution
            if cautious:
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
