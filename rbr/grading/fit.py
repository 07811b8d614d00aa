"""What a fitted grader is trained on: gold train rows, and composed completions of train prompts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbr.comparisons.compose import compose, labels_of
from rbr.data.rows import Labelled, PolicyPrompt
from rbr.grading.base import Conversation
from rbr.rules import Rules


@dataclass(frozen=True)
class TrainingRows:
    """Rows to fit on; all fields are of the same length.

    Attributes:
        true: names of the true propositions.
        groups: one name a conversation.
        is_gold: whether a person labelled the row.
    """

    conversations: list[Conversation]
    completions: list[str]
    true: list[tuple[str, ...]]
    response_types: list[str]
    groups: list[str]
    is_gold: NDArray[np.bool_]

    def labels(self, propositions: Sequence[str]) -> NDArray[np.float64]:
        """Labels of shape (n, propositions), 0 or 1."""
        return np.array([[float(name in row) for name in propositions] for row in self.true])


def training_rows(
    gold: Sequence[Labelled],
    prompts: Sequence[PolicyPrompt],
    rules: Rules,
    composed_per_type: int,
    composed_comply: int,
    seed: int,
) -> TrainingRows:
    """Gold rows, then composed ones."""
    draw = random.Random(seed)
    conversations: list[Conversation] = [row.conversation for row in gold]
    completions = [row.completion for row in gold]
    true = [row.true for row in gold]
    response_types = [row.response_type for row in gold]
    for kind in rules.response_types:
        own = [p for p in prompts if p.response_type == kind]
        labels = labels_of(rules, kind)
        count = composed_comply if kind == "comply" else composed_per_type
        for i in range(count if own else 0):
            prompt = own[i % len(own)]
            label = labels[(i // len(own) + i) % len(labels)]
            # Faults on any label: else the grader learns that a good answer is never, say, too long.
            faults = draw.choice((None, None, 1)) if label != "disallowed" else None
            made = compose(prompt, label, rules, prompts, draw, faults)
            conversations.append(prompt.conversation)
            completions.append(made.completion)
            true.append(made.true)
            response_types.append(kind)
    groups = [talk[-1].content for talk in conversations]
    is_gold = np.zeros(len(groups), dtype=bool)
    is_gold[: len(gold)] = True
    return TrainingRows(conversations, completions, true, response_types, groups, is_gold)
