"""What the written data holds: counts, support of the propositions, agreement of two labellers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbr.data.gold import GoldOptions, split_gold
from rbr.data.rows import FORMLESS, Labelled, Prompt, label_matrix
from rbr.data.splits import SplitOptions, near_duplicates, split_prompts
from rbr.errors import DataError, RuleError
from rbr.rules.check import propositions_used
from rbr.rules.rules import Rules
from rbr.rules.yaml import place_of, read_mapping


@dataclass(frozen=True)
class PromptStats:
    """Counts of safety prompts.

    Attributes:
        categories: category -> response type -> prompts.
        families: category -> families.
        forms: form -> prompts whose refusal is over-refusal ("none": does not look unsafe).
        splits: split -> response type -> prompts.
        crossing: families that are in two splits.
        near_duplicates: pairs of ids in two splits whose last turns share most word 3-grams.
    """

    prompts: int
    categories: dict[str, dict[str, int]]
    families: dict[str, int]
    forms: dict[str, int]
    splits: dict[str, dict[str, int]]
    comply_share: float
    lookalike_share: float
    multi_turn: int
    crossing: tuple[str, ...]
    near_duplicates: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True)
class GoldStats:
    """Counts of gold rows; ``split``: role -> rows; ``support``: proposition -> role -> positives."""

    rows: int
    split: dict[str, int]
    multi_turn: int
    response_types: dict[str, int]
    support: dict[str, dict[str, int]]


def prompt_stats(
    prompts: Sequence[Prompt], rules: Rules, options: SplitOptions, seed: int
) -> PromptStats:
    """Count prompts.

    Raises:
        RuleError: if the policy does not know a prompt's category or kind.
    """
    types = {p.id: rules.response_type(p.category, p.kind) for p in prompts}
    comply = [p for p in prompts if rules.over_refusal(types[p.id])]
    splits = split_prompts(prompts, options, seed)
    places: dict[str, set[str]] = {}
    for name, members in splits.items():
        for p in members:
            places.setdefault(p.family, set()).add(name)
    near = []
    for one, other in itertools.combinations(splits.values(), 2):
        found = near_duplicates(
            [p.conversation[-1].content for p in one], [p.conversation[-1].content for p in other]
        )
        near += [(one[i].id, other[j].id, round(similarity, 3)) for i, j, similarity in found]
    categories = sorted({p.category for p in prompts})
    return PromptStats(
        prompts=len(prompts),
        categories={
            c: dict(Counter(types[p.id] for p in prompts if p.category == c)) for c in categories
        },
        families={c: len({p.family for p in prompts if p.category == c}) for c in categories},
        forms=dict(Counter(p.form or FORMLESS for p in comply).most_common()),
        splits={name: dict(Counter(types[p.id] for p in rows)) for name, rows in splits.items()},
        comply_share=len(comply) / max(1, len(prompts)),
        lookalike_share=sum(p.form is not None for p in comply) / max(1, len(comply)),
        multi_turn=sum(len(p.conversation) > 1 for p in prompts),
        crossing=tuple(sorted(name for name, where in places.items() if len(where) > 1)),
        near_duplicates=tuple(near),
    )


def gold_stats(
    gold: Sequence[Labelled], rules: Rules, options: GoldOptions, seed: int
) -> GoldStats:
    """Count gold rows and their split; the rarest proposition comes first."""
    split = split_gold(gold, options, seed)
    support = {
        role: Counter(name for row in rows for name in row.true) for role, rows in split.items()
    }
    return GoldStats(
        rows=len(gold),
        split={role: len(rows) for role, rows in split.items()},
        multi_turn=sum(len(row.conversation) > 1 for row in gold),
        response_types=dict(Counter(row.response_type for row in gold)),
        support={
            name: {role: found[name] for role, found in support.items()}
            for name in sorted(
                rules.proposition_names, key=lambda n: sum(c[n] for c in support.values())
            )
        },
    )


def agreement(
    one: Sequence[Labelled], other: Sequence[Labelled], propositions: Sequence[str]
) -> list[dict[str, Any]]:
    """Agreement of two people's labels, a row per proposition, over the rows that both labelled (by id).

    Returns:
        Rows of ``proposition, rows, agreement, kappa``: Cohen's kappa (1960) is the agreement above
        chance; 1 where both always give the same one label.

    Raises:
        DataError: if they have no row in common.
    """
    from sklearn.metrics import cohen_kappa_score

    theirs = {row.id: row for row in other}
    both = [(row, theirs[row.id]) for row in one if row.id in theirs]
    if not both:
        raise DataError("the two files have no row (id) in common")
    first, second = (
        label_matrix([row.true for row in rows], propositions) for rows in zip(*both, strict=True)
    )
    table = []
    for j, name in enumerate(propositions):
        a, b = first[:, j], second[:, j]
        # Where there is one label only, chance agreement is complete and kappa undefined.
        kappa = 1.0 if len({*a, *b}) == 1 else float(cohen_kappa_score(a, b))
        equal = float((a == b).mean())
        table.append({"proposition": name, "rows": len(both), "agreement": equal, "kappa": kappa})
    return table


def support_errors(
    folder: Path, rules: Rules, gold: Sequence[Labelled], least: int
) -> list[RuleError]:
    """Propositions of a feature set that fewer than ``least`` gold rows have, or that all rows have.

    Args:
        folder: of the rules; the errors name the feature's place in its ``reward.yaml``.
        gold: the written gold rows.
    """
    path = folder / "reward.yaml"
    positives = Counter(name for row in gold for name in row.true)
    errors = []
    reported: set[str] = set()
    for response_type in rules.response_types:
        for i, name in enumerate(rules.reward[response_type].features):
            found = positives[name]
            if name in reported or least <= found < len(gold):
                continue
            reported.add(name)
            text = (
                f"'{name}' is true on {found} of {len(gold)} gold rows, at least {least} are needed:"
                " label more of data/source/gold (`rbr data label`), or drop the feature"
                if found < least
                else f"'{name}' is true on all {found} gold rows: label some where it is false"
            )
            errors.append(
                RuleError(text, place_of(path, read_mapping(path), [response_type, "features", i]))
            )
    return errors


def unused_errors(folder: Path, rules: Rules, prompts: Sequence[Prompt]) -> list[RuleError]:
    """Propositions that nothing in the rules uses; categories and response types without a prompt.

    Args:
        folder: of the rules, which the errors name places of.
        prompts: the written ones, of categories and kinds that the policy knows.
    """
    terms = [name for rule in rules.derived.values() for name in (*rule.all, *rule.none)]
    used = {*terms, *rules.roles.model_dump().values()}
    for name in rules.response_types:
        used.update(rules.reward[name].features, propositions_used(rules, name))
    categories = {p.category for p in prompts}
    types = {rules.response_type(p.category, p.kind) for p in prompts}
    found = [
        *(
            (
                f"propositions/{name}.yaml",
                "id",
                f"'{name}' is used nowhere: add it to features in reward.yaml, or to derived.yaml or"
                " completion_classes.yaml",
            )
            for name in rules.proposition_names
            if name not in used
        ),
        *(
            (
                "content_policy.yaml",
                name,
                f"no prompt of category '{name}': add some to data/source/safety_prompts (`rbr data"
                " template prompts` prints one), or drop it",
            )
            for name in rules.policy
            if name not in categories
        ),
        *(
            (
                "response_types.yaml",
                name,
                f"no prompt gets '{name}': give it to a kind in content_policy.yaml that has prompts,"
                " or drop it",
            )
            for name in rules.response_types
            if name not in types
        ),
    ]
    return [
        RuleError(text, place_of(folder / file, read_mapping(folder / file), [key]))
        for file, key, text in found
    ]
