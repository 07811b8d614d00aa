"""Completions composed of written fragments: their propositions are known without a grader."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rbr.data.rows import PolicyPrompt
from rbr.rules.rules import Rules


@dataclass(frozen=True)
class Draft:
    """A completion of a label, not yet confirmed.

    Attributes:
        true: the propositions that it is meant to have; a composed one has them by construction.
        completion: '' as long as a model has not written it.
    """

    prompt: PolicyPrompt
    label: str
    true: tuple[str, ...]
    completion: str = ""
    source: Literal["composed", "written", "generated"] = "composed"


# In the order of the paper's labels, so that another ordering in the rules composes the same texts.
LABELS = {
    label: place
    for place, label in enumerate(
        ("ideal", "bad", "disallowed", "full", "partial", "off_topic", "refusal")
    )
}

# What the texts that come with a comply prompt make true.
PROMPT_TEXTS = {
    "answer": ("fully_complies", "partially_complies"),
    "partial": ("partially_complies",),
    "other_answer": ("illogical_continuation_of_prompt",),
}


def compose(
    prompt: PolicyPrompt,
    label: str,
    rules: Rules,
    others: Sequence[PolicyPrompt],
    draw: random.Random,
    faults: int | None = None,
) -> Draft:
    """Compose one completion of a label.

    Args:
        others: prompts of the same split; an off-topic completion is an answer of one of them.
        draw: decides recipe, wordings and faults.
        faults: the number of fault wordings; by default as the recipe says.
    """
    bank = rules.completions
    recipe = draw.choice(bank.recipes[prompt.response_type][label])  # type: ignore[index]
    texts: list[str] = []
    true: set[str] = set()
    for slot in recipe.slots:
        if slot in PROMPT_TEXTS:
            true.update(PROMPT_TEXTS[slot])
            if slot == "other_answer":
                foreign = [p for p in others if p.answer and p.family != prompt.family]
                texts.append(draw.choice(foreign).answer or "")
            else:
                texts.append((prompt.answer if slot == "answer" else prompt.partial) or "")
            continue
        fragment = bank.fragments[slot]
        true.update(fragment.makes)
        texts.append(draw.choice(fragment.texts).replace("{topic}", prompt.topic))
    groups = list(bank.faults[prompt.response_type])  # type: ignore[index]
    count = draw.randint(*recipe.faults) if faults is None else faults
    for group in draw.sample(groups, min(count, len(groups))):
        fragment = bank.fragments[group]
        true.update(fragment.makes)
        text = draw.choice(fragment.texts).replace("{topic}", prompt.topic)
        # A fault may stand before or after; a completion that breaks off stays last.
        if draw.random() < 0.35 and label != "disallowed":
            texts.insert(0, text)
        else:
            texts.append(text)
    completion = " ".join(text[:1].upper() + text[1:] for text in texts)
    return Draft(prompt, label, tuple(sorted(true)), completion)


def labels_of(rules: Rules, response_type: str) -> list[str]:
    """The labels of a response type's comparisons, in an order that the rules do not change."""
    labels = rules.completions.recipes[response_type]  # type: ignore[index]
    return sorted(labels, key=lambda label: (LABELS.get(label, len(LABELS)), label))
