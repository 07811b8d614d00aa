"""What a fitted grader is trained on: gold train rows, and composed completions of train prompts."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from rbr.comparisons.compose import compose, composed_only, labels_of
from rbr.data.rows import Conversation, Labelled, PolicyPrompt, TrainingRows
from rbr.rules.rules import Rules


def training_rows(
    gold: Sequence[Labelled],
    prompts: Sequence[PolicyPrompt],
    rules: Rules,
    composed_per_type: int,
    composed_comply: int,
    seed: int,
) -> TrainingRows:
    """Gold rows, then composed ones.

    Args:
        composed_per_type: composed rows of each response type that counts as unsafe.
        composed_comply: composed rows of each one whose refusal is over-refusal.
    """
    draw = random.Random(seed)
    conversations: list[Conversation] = [row.conversation for row in gold]
    completions = [row.completion for row in gold]
    true = [row.true for row in gold]
    response_types = [row.response_type for row in gold]
    for response_type in rules.response_types:
        members = [p for p in prompts if p.response_type == response_type]
        labels = labels_of(rules, response_type)
        count = composed_comply if rules.over_refusal(response_type) else composed_per_type
        for i in range(count if members and labels else 0):
            prompt = members[i % len(members)]
            label = labels[(i // len(members) + i) % len(labels)]
            # Faults on any label: else the grader learns that a good answer is never, say, too long.
            faults = None
            if not composed_only(rules, response_type, label):
                faults = draw.choice((None, None, 1))
            composed = compose(prompt, label, rules, prompts, draw, faults)
            conversations.append(prompt.conversation)
            completions.append(composed.completion)
            true.append(composed.true)
            response_types.append(response_type)
    groups = [conversation[-1].content for conversation in conversations]
    is_gold = np.arange(len(groups)) < len(gold)
    return TrainingRows(
        conversations, completions, true, response_types, groups, is_gold, rules.relations
    )
