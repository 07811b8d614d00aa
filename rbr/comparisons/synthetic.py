"""The synthetic comparisons of a set of prompts: which prompts, which labels (section 4.2 of the paper)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rbr.comparisons.compose import Draft, compose, labels_of
from rbr.comparisons.conditioned import requests, requests_without_recipes
from rbr.data.rows import Comparison, PolicyPrompt

if TYPE_CHECKING:
    from rbr.rules.rules import Rules

# Draws of a further completion of a label before an equal one is accepted.
REDRAWS = 20


def chosen_prompts(
    splits: Mapping[str, list[PolicyPrompt]], train_limit: int, heldout_limit: int, seed: int
) -> dict[str, list[PolicyPrompt]]:
    """The prompts that get comparisons: of a response type at most the limit of the split."""
    draw = random.Random(seed)
    chosen = {}
    for split, prompts in splits.items():
        by_type: dict[str, list[PolicyPrompt]] = defaultdict(list)
        for prompt in prompts:
            by_type[prompt.response_type].append(prompt)
        most = train_limit if split == "train" else heldout_limit
        chosen[split] = [
            prompt
            for alike in by_type.values()
            for prompt in draw.sample(alike, min(most, len(alike)))
        ]
    return chosen


def composed(
    prompts: Sequence[PolicyPrompt], rules: Rules, bad_per_prompt: int, seed: int, split: str
) -> list[Draft]:
    """Composed completions of each prompt and label; of an answered prompt also its written ones.

    Those of train prompts share no wording with the others.
    """
    draw, heldout = random.Random(f"{seed}:{split}"), split != "train"
    drafts = []
    for prompt in prompts:
        for label in labels_of(rules, prompt.response_type):
            seen: set[str] = set()
            for _ in range(bad_per_prompt if label in rules.completions.several else 1):
                draft = compose(prompt, label, rules, prompts, draw, heldout=heldout)
                for _ in range(REDRAWS):
                    if draft.completion not in seen:
                        break
                    draft = compose(prompt, label, rules, prompts, draw, heldout=heldout)
                seen.add(draft.completion)
                if draft.completion in (prompt.answer, prompt.partial):
                    draft = replace(draft, source="written")
                drafts.append(draft)
    return drafts


def requested(
    prompts: Sequence[PolicyPrompt], rules: Rules, share: float, bad_per_prompt: int, seed: int
) -> list[Draft]:
    """What a model should write: for a share of the prompts, and for all that have no recipes."""
    composable = [p for p in prompts if labels_of(rules, p.response_type)]
    others = [p for p in prompts if not labels_of(rules, p.response_type)]
    count = round(len(composable) * share)
    some = random.Random(seed).sample(composable, min(count, len(composable)))
    drafts = requests(some, rules, composable, seed)
    return drafts + requests_without_recipes(others, rules, bad_per_prompt, seed)


def without_generated(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of people's wordings; those that a model wrote where a response type has no others.

    A model's have the grader's label alone.
    """
    worded = {row.response_type for row in comparisons if row.source != "generated"}
    return [r for r in comparisons if r.source != "generated" or r.response_type not in worded]


def distinct(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts, each prompt's without repetition: the first of equal ones."""
    found: dict[tuple[str, str], Draft] = {}
    for draft in drafts:
        found.setdefault((draft.prompt.id, draft.completion), draft)
    return list(found.values())
