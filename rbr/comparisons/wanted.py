"""What completions of a label should have, drawn from the classes where no recipe says it.

The paper's procedure needs no written wordings: propositions that fit the label are drawn, and a model
writes a completion that has them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from rbr.data.rows import label_matrix
from rbr.errors import RuleError
from rbr.rules.algebra import class_scores
from rbr.rules.rules import Rules
from rbr.rules.yaml import place_of, read_mapping

CANDIDATES = 3000
# Chance that a candidate lacks one of the propositions that it starts from.
DROPPED = 0.15
# How many propositions come on top: faults of an answer that is otherwise of its class.
ADDED = (0, 0, 1, 1, 2)

Wanted = tuple[str, ...]


def drawn_labels(rules: Rules, response_type: str, seed: int) -> dict[str, list[Wanted]]:
    """Sets of propositions that make a completion of each label, each set once, in a drawn order.

    A label's own classes count where it has some that no other label has. Of labels that share all classes
    the best ranked one answers in full, the next one in part (the roles ``complied`` and
    ``partly_complied``). What is disallowed counts where the label allows nothing else.

    Raises:
        RuleError: if a label has none.
    """
    found = _found(rules, response_type, seed)
    for label, sets in found.items():
        if not sets:
            raise RuleError(_unmade(response_type, label))
        random.Random(f"{seed}:{response_type}:{label}").shuffle(sets)
    return found


def label_errors(folder: Path, rules: Rules, seed: int) -> Iterator[RuleError]:
    """The labels without recipes for which ``drawn_labels`` finds nothing.

    Args:
        folder: of the rules, which the errors name places of.
    """
    path = folder / "reward.yaml"
    for response_type in rules.response_types:
        if rules.completions.recipes.get(response_type):
            continue
        for label, sets in _found(rules, response_type, seed).items():
            if not sets:
                place = place_of(path, read_mapping(path), [response_type, "labels", label])
                yield RuleError(_unmade(response_type, label), place)


def _unmade(response_type: str, label: str) -> str:
    return (
        f"no combination of propositions makes a completion '{label}' of '{response_type}':"
        " give it a class of its own in reward.yaml, or recipes in completions.yaml"
    )


def _found(rules: Rules, response_type: str, seed: int) -> dict[str, list[Wanted]]:
    """As ``drawn_labels``, as they were drawn; an empty list where a label has none."""
    candidates = list(dict.fromkeys(_candidates(rules, response_type, seed)))
    scores = class_scores(label_matrix(candidates, rules.proposition_names), rules, response_type)
    by_class: dict[str, list[Wanted]] = defaultdict(list)
    names = rules.class_names(response_type)
    for true, best in zip(candidates, scores.argmax(axis=1), strict=True):
        by_class[names[best]].append(true)
    found = {}
    for label, own in _own_classes(rules, response_type).items():
        fitting = [true for name in own for true in by_class[name]]
        fitting = [true for true in fitting if _answers_as(rules, response_type, label, true)]
        allowed = [true for true in fitting if not rules.means("disallowed", true)]
        found[label] = allowed or fitting
    return found


def _candidates(rules: Rules, response_type: str, seed: int) -> Iterator[Wanted]:
    """Consistent sets of propositions near those that make a class or play a role."""
    draw = random.Random(f"{seed}:{response_type}:candidates")
    features = sorted(rules.reward[response_type].features)
    required = [
        _plain(rules, rule.all) for rule in rules.classes[response_type].values() if rule.all
    ]
    starts = [*required, *(rules.makes(role) for role in rules.roles.model_dump()), frozenset()]
    for start in starts:
        yield tuple(sorted(rules.relations.closure(start)))
    for _ in range(CANDIDATES):
        true = {name for name in sorted(draw.choice(starts)) if draw.random() >= DROPPED}
        true.update(draw.sample(features, min(draw.choice(ADDED), len(features))))
        closed = rules.relations.closure(true)
        if rules.relations.contradiction(closed) is None:
            yield tuple(sorted(closed))


def _plain(rules: Rules, terms: Sequence[str]) -> frozenset[str]:
    """The propositions that must hold for these terms."""
    found: set[str] = set()
    for name in terms:
        derived = rules.derived.get(name)
        found |= _plain(rules, derived.all) if derived else {name}
    return frozenset(found)


def _own_classes(rules: Rules, response_type: str) -> dict[str, list[str]]:
    """The classes of each label that no other one has; all of its classes where each is shared."""
    labels = rules.reward[response_type].labels
    found = {}
    for label, classes in labels.items():
        others = {name for other, some in labels.items() if other != label for name in some}
        found[label] = [name for name in classes if name not in others] or list(classes)
    return found


def _answers_as(rules: Rules, response_type: str, label: str, true: Wanted) -> bool:
    """Whether a set of propositions tells a label from those with just the same classes."""
    rule = rules.reward[response_type]
    same = [
        n for rank in rule.ordering for n in rank if set(rule.labels[n]) == set(rule.labels[label])
    ]
    if len(same) == 1:
        return True
    full, part = rules.means("complied", true), rules.means("partly_complied", true)
    place = same.index(label)
    return full if place == 0 else place == 1 and part and not full
