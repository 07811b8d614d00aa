"""What is wrong between rule files that are each well formed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from rbr.rules.models import SLOT_ROLES, Conjunction
from rbr.rules.yaml import suggest

if TYPE_CHECKING:
    from rbr.rules.rules import Rules


def problems(rules: Rules) -> Iterator[tuple[str, Sequence[str | int], str]]:
    """What is wrong between the files: file, place in it, and message."""
    for name, rule in rules.propositions.items():
        if rule.id != name:
            message = f"id '{rule.id}' must be the file's name '{name}'"
            yield f"propositions/{name}.yaml", ["id"], message
        if name in rules.derived:
            yield "derived.yaml", [name], f"'{name}' is a proposition already"
        for i, example in enumerate(rule.examples.negative):
            if example in rule.examples.positive:
                message = f"examples.negative.{i}: it stands in positive too: drop one"
                yield f"propositions/{name}.yaml", ["examples", "negative", i], message
    cycle = _cycle(rules.derived)
    if cycle:
        message = f"the definitions form a cycle: {' -> '.join(cycle)}"
        yield "derived.yaml", [cycle[0]], message
    yield from _class_problems(rules)
    yield from _recipe_problems(rules)


def _class_problems(rules: Rules) -> Iterator[tuple[str, Sequence[str | int], str]]:
    """Names of classes that response types and labels have, and their type has not."""
    for response_type, rule in rules.types.items():
        known = rules.class_names(response_type)
        noun = f"'{response_type}' has no completion class"
        for key, names in (("best", (rule.best,)), ("acceptable", rule.acceptable)):
            for name in set(names) - set(known):
                yield (
                    "response_types.yaml",
                    [response_type, key],
                    f"{noun} '{name}'; {suggest(name, known)}",
                )
        if rule.best in rule.acceptable:
            message = f"'{rule.best}' is the best class: drop it here"
            yield "response_types.yaml", [response_type, "acceptable"], message
        for label, names in rules.reward[response_type].labels.items():
            for name in set(names) - set(known):
                place: list[str | int] = [response_type, "labels", label]
                yield "reward.yaml", place, f"{noun} '{name}'; {suggest(name, known)}"


def _recipe_problems(rules: Rules) -> Iterator[tuple[str, Sequence[str | int], str]]:
    """Labels without a recipe, recipes of no label, and slots whose role nothing plays."""
    file = "completions.yaml"
    for response_type, recipes in rules.completions.recipes.items():
        labels = rules.reward[response_type].labels
        place: list[str | int] = ["recipes", response_type]
        for label in labels.keys() - recipes:
            yield file, place, f"no recipe for label '{label}'"
        for label in recipes.keys() - labels:
            message = f"label '{label}' is not in the ordering of reward.yaml"
            yield file, [*place, label], f"{message}; {suggest(label, labels)}"
        for label, some in recipes.items():
            for slot in {slot for recipe in some for slot in recipe.slots} & SLOT_ROLES.keys():
                role = SLOT_ROLES[slot]
                if getattr(rules.roles, role) is None:
                    message = f"slot '{slot}' needs the role '{role}': name it in roles.yaml"
                    yield file, [*place, label], message
    known = {label for rule in rules.reward.values() for label in rule.labels}
    for key in ("several", "taste"):
        for name in _flat(getattr(rules.completions, key)):
            if name not in known:
                yield file, [key], f"no label '{name}' in reward.yaml; {suggest(name, known)}"


def _flat(names: tuple[Any, ...]) -> list[str]:
    return [n for name in names for n in ([name] if isinstance(name, str) else name)]


def _cycle(derived: dict[str, Conjunction]) -> tuple[str, ...] | None:
    """A derived proposition's way back to itself, or None."""
    terms = {name: [*rule.all, *rule.none] for name, rule in derived.items()}
    try:
        TopologicalSorter(terms).prepare()
    except CycleError as error:
        return tuple(reversed(error.args[1]))
    return None
