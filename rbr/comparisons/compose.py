"""Completions composed of written fragments: their propositions are known without a grader."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rbr.data.rows import PolicyPrompt, Prompt
from rbr.errors import DataError, RuleError
from rbr.rules.models import SLOT_ROLES, Fragment
from rbr.rules.rules import Rules
from rbr.rules.yaml import place_of, read_mapping

# The slot of another prompt's answer.
FOREIGN = "other_answer"
# A third of the wordings: what is held out then varies, and what is learnt from varies more.
HELDOUT_EVERY = 3
MEND = "write answers to prompts of more families, or drop other_answer from the recipes"


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

    Raises:
        DataError: if the recipe takes another prompt's answer, and ``others`` have none.
    """
    bank = rules.completions
    recipe = draw.choice(bank.recipes[prompt.response_type][label])
    breaks_off = composed_only(rules, prompt.response_type, label)
    texts: list[str] = []
    true: set[str] = set()
    for slot in recipe.slots:
        if slot in SLOT_ROLES:
            true.update(rules.makes(SLOT_ROLES[slot]))
            if slot == FOREIGN:
                texts.append(_foreign(prompt, label, others, draw))
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


def _foreign(
    prompt: PolicyPrompt, label: str, others: Sequence[PolicyPrompt], draw: random.Random
) -> str:
    """The answer to a prompt of another family, of the same language where there is one."""
    foreign = [p for p in others if p.answer and p.family != prompt.family]
    alike = [p for p in foreign if p.language == prompt.language]
    if not foreign:
        raise DataError(
            f"the recipe of '{label}' of '{prompt.response_type}' takes another prompt's answer, and none"
            f" of this split beside family '{prompt.family}' has one: {MEND}"
        )
    return draw.choice(alike or foreign).answer or ""


def foreign_errors(
    folder: Path, rules: Rules, splits: Mapping[str, Sequence[Prompt]]
) -> Iterator[RuleError]:
    """The recipes that take another prompt's answer where a split has none to take.

    Args:
        folder: of the rules, which the errors name places of.
    """
    for response_type, recipes in rules.completions.recipes.items():
        for label, some in recipes.items():
            if not any(FOREIGN in recipe.slots for recipe in some):
                continue
            lacking = [split for split in splits if _lacks(splits[split], rules, response_type)]
            if lacking:
                path = folder / "completions.yaml"
                text = (
                    f"'{label}' of '{response_type}' takes another prompt's answer ({FOREIGN}), and too few"
                    f" prompts of split {', '.join(lacking)} have one: {MEND}"
                )
                place = ["recipes", response_type, label]
                yield RuleError(text, place_of(path, read_mapping(path), place))


def _lacks(prompts: Sequence[Prompt], rules: Rules, response_type: str) -> bool:
    """Whether some prompt of a type is without an answer of another family."""
    answered = {p.family for p in prompts if p.answer}
    return any(
        not answered - {p.family}
        for p in prompts
        if rules.response_type(p.category, p.kind) == response_type
    )


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
