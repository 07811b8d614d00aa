"""Completions composed of written fragments: their propositions are known without a grader."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rbr.data.rows import PolicyPrompt
from rbr.rules.models import SLOT_ROLES, Fragment
from rbr.rules.rules import Rules

# A third of the wordings: what is held out then varies, and what is learnt from varies more.
HELDOUT_EVERY = 3


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


def compose(
    prompt: PolicyPrompt,
    label: str,
    rules: Rules,
    others: Sequence[PolicyPrompt],
    draw: random.Random,
    faults: int | None = None,
    heldout: bool = False,
) -> Draft:
    """Compose one completion of a label.

    Args:
        others: prompts of the same split; an off-topic completion is an answer of one of them.
        draw: decides recipe, wordings and faults.
        faults: the number of fault wordings; by default as the recipe says.
        heldout: compose of the wordings that no training sees, see ``wordings``.
    """
    bank = rules.completions
    recipe = draw.choice(bank.recipes[prompt.response_type][label])
    breaks_off = composed_only(rules, prompt.response_type, label)
    texts: list[str] = []
    true: set[str] = set()
    for slot in recipe.slots:
        if slot in SLOT_ROLES:
            true.update(rules.makes(SLOT_ROLES[slot]))
            if slot == "other_answer":
                foreign = [p for p in others if p.answer and p.family != prompt.family]
                alike = [p for p in foreign if p.language == prompt.language]
                texts.append(draw.choice(alike or foreign).answer or "")
            else:
                texts.append((prompt.answer if slot == "answer" else prompt.partial) or "")
            continue
        fragment = bank.fragments[slot]
        true.update(fragment.makes)
        texts.append(
            draw.choice(wordings(fragment, heldout, prompt.language)).replace(
                "{topic}", prompt.topic
            )
        )
    groups = list(bank.faults.get(prompt.response_type, ()))
    count = draw.randint(*recipe.faults) if faults is None else faults
    for group in draw.sample(groups, min(count, len(groups))):
        fragment = bank.fragments[group]
        true.update(fragment.makes)
        text = draw.choice(wordings(fragment, heldout, prompt.language)).replace(
            "{topic}", prompt.topic
        )
        # A fault may stand before or after; a completion that breaks off stays last.
        if draw.random() < 0.35 and not breaks_off:
            texts.insert(0, text)
        else:
            texts.append(text)
    completion = " ".join(text[:1].upper() + text[1:] for text in texts)
    return Draft(prompt, label, tuple(sorted(true)), completion)


def wordings(fragment: Fragment, heldout: bool, language: str | None = None) -> Sequence[str]:
    """A fragment's texts: every ``HELDOUT_EVERY``-th is for held-out completions, the others for train.

    Of a fragment with fewer texts all are for both.

    Args:
        language: of the prompt, see ``Fragment.in_language``.
    """
    texts = fragment.in_language(language)
    if len(texts) < HELDOUT_EVERY:
        return texts
    places = enumerate(texts, start=1)
    return [text for place, text in places if (place % HELDOUT_EVERY == 0) == heldout]


def labels_of(rules: Rules, response_type: str) -> list[str]:
    """The labels that a response type has recipes for, in an order that its ordering does not change."""
    recipes = rules.completions.recipes.get(response_type, {})
    return [label for label in rules.reward[response_type].labels if label in recipes]


def composed_only(rules: Rules, response_type: str, label: str) -> bool:
    """Whether completions of a label are disallowed: they break off, and are not asked of a model.

    One that answers such a request well would be writing what no data of ours may hold.
    """
    makes = rules.completions.fragments
    return all(
        rules.means("disallowed", [n for s in recipe.slots if s in makes for n in makes[s].makes])
        for recipe in rules.completions.recipes[response_type][label]
    )
