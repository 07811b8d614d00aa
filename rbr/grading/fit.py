"""What a fitted grader is trained on: gold train rows, and composed completions of train prompts."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rbr.comparisons.compose import compose, labels_of
from rbr.data.rows import Labelled, PolicyPrompt
from rbr.grading.base import Conversation
from rbr.rules import Rules


def training_rows(
    gold: Sequence[Labelled],
    prompts: Sequence[PolicyPrompt],
    rules: Rules,
    composed_per_type: int,
    seed: int,
) -> tuple[list[Conversation], list[str], list[tuple[str, ...]], list[str], NDArray[np.bool_]]:
    """Gold rows, then composed ones.

    Returns:
        Conversations, completions, names of true propositions, groups (one a conversation), and
        which rows are gold.
    """
    draw = random.Random(seed)
    conversations: list[Conversation] = [row.conversation for row in gold]
    completions = [row.completion for row in gold]
    true = [row.true for row in gold]
    for kind in rules.response_types:
        own = [p for p in prompts if p.response_type == kind]
        labels = labels_of(rules, kind)
        for i in range(composed_per_type if own else 0):
            prompt = own[i % len(own)]
            label = labels[(i // len(own) + i) % len(labels)]
            # Faults on any label: else the grader learns that a good answer is never, say, too long.
            faults = draw.choice((None, None, 1)) if label != "disallowed" else None
            made = compose(prompt, label, rules, prompts, draw, faults)
            conversations.append(prompt.conversation)
            completions.append(made.completion)
            true.append(made.true)
    groups = [talk[-1].content for talk in conversations]
    is_gold = np.zeros(len(groups), dtype=bool)
    is_gold[: len(gold)] = True
    return conversations, completions, true, groups, is_gold
