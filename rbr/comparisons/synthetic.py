"""The synthetic comparisons of a set of prompts: which prompts, which labels (section 4.2 of the paper)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from rbr.comparisons.compose import compose, labels_of
from rbr.comparisons.conditioned import CompletionRequest, requests
from rbr.data.rows import PolicyPrompt

if TYPE_CHECKING:
    from rbr.rules.rules import Rules

# Draws of a further completion of a label before an equal one is accepted.
REDRAWS = 20


class Limits(Protocol):
    """How many prompts of a response type get comparisons."""

    @property
    def prompts_per_type(self) -> int: ...

    @property
    def heldout_per_type(self) -> int: ...


@dataclass(frozen=True)
class Draft:
    """A completion of a label, not yet confirmed; ``true`` are the propositions it is meant to have."""

    prompt: PolicyPrompt
    label: str
    source: Literal["composed", "written", "generated"]
    completion: str
    true: tuple[str, ...]


def chosen_prompts(
    splits: Mapping[str, list[PolicyPrompt]], limits: Limits, seed: int
) -> dict[str, list[PolicyPrompt]]:
    """The prompts that get comparisons: no more of a response type than the limits say."""
    draw = random.Random(seed)
    chosen = {}
    for split, prompts in splits.items():
        by_type: dict[str, list[PolicyPrompt]] = defaultdict(list)
        for prompt in prompts:
            by_type[prompt.response_type].append(prompt)
        most = limits.prompts_per_type if split == "train" else limits.heldout_per_type
        chosen[split] = [
            prompt
            for alike in by_type.values()
            for prompt in draw.sample(alike, min(most, len(alike)))
        ]
    return chosen


def composed(
    prompts: Sequence[PolicyPrompt], rules: Rules, bad_per_prompt: int, seed: str
) -> list[Draft]:
    """Composed completions of each prompt and label; of a comply prompt also its written ones."""
    draw = random.Random(seed)
    drafts = []
    for prompt in prompts:
        for label in labels_of(rules, prompt.response_type):
            seen: set[str] = set()
            for _ in range(bad_per_prompt if label == "bad" else 1):
                completion = compose(prompt, label, rules, prompts, draw)
                for _ in range(REDRAWS):
                    if completion.completion not in seen:
                        break
                    completion = compose(prompt, label, rules, prompts, draw)
                seen.add(completion.completion)
                written = completion.completion in (prompt.answer, prompt.partial)
                source: Literal["written", "composed"] = "written" if written else "composed"
                drafts.append(Draft(prompt, label, source, completion.completion, completion.true))
    return drafts


def requested(
    prompts: Sequence[PolicyPrompt], rules: Rules, share: float, seed: int
) -> list[CompletionRequest]:
    """What a model is asked to write, for a share of the prompts."""
    count = round(len(prompts) * share)
    some = random.Random(seed).sample(prompts, min(count, len(prompts)))
    return requests(some, rules, prompts, seed)


def distinct(met: Sequence[CompletionRequest]) -> list[Draft]:
    """The completions of met requests, each prompt's without repetition."""
    kept = {(request.prompt.id, request.completion): request for request in met}
    return [
        Draft(request.prompt, request.label, "generated", request.completion, request.true)
        for request in kept.values()
    ]
