"""Checking a folder of rules: form, names, cycles, placeholders, and that each completion is of one class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rbr.errors import RuleError
from rbr.files import visible
from rbr.rules.models import SECTIONS, Conjunction
from rbr.rules.rules import Rules, load_with_errors
from rbr.rules.yaml import place_of, read_mapping, suggest

MAX_PROPOSITIONS = 22
# What a text that is still to be written begins with (`rbr new`).
PLACEHOLDER = "TODO "


def propositions_used(rules: Rules, response_type: str) -> list[str]:
    """Propositions that the classes of a response type depend on, through derived ones too."""
    todo = list(rules.classes[response_type].values())
    seen: set[str] = set()
    while todo:
        rule = todo.pop()
        names = {*rule.all, *rule.none} - seen
        seen |= names
        todo += [rules.derived[name] for name in names if name in rules.derived]
    return sorted(seen - set(rules.derived))


def partition_error(rules: Rules, response_type: str) -> str | None:
    """A counter-example if some assignment falls in no class or in two; None if each falls in one.

    All assignments of the propositions used are tried (at most 2^22): a truth table is one integer, a bit
    for each, so that a check starts without NumPy.
    """
    used = propositions_used(rules, response_type)
    if len(used) > MAX_PROPOSITIONS:
        return (
            f"the classes use {len(used)} propositions; at most {MAX_PROPOSITIONS} can be checked"
        )
    every = (1 << (1 << len(used))) - 1
    tables = {name: _variable(i, len(used)) for i, name in enumerate(used)}
    none, one, several = every, 0, 0  # assignments by how many classes they fall in
    for rule in rules.classes[response_type].values():
        table = _truth_table(rule, tables, rules, every)
        several |= one & table
        one |= table
        none &= ~table
    wrong = none | several
    if not wrong:
        return None
    assignment = (wrong & -wrong).bit_length() - 1  # the first one that is wrong
    true = [name for i, name in enumerate(used) if assignment >> i & 1]
    classes = [
        name
        for name, rule in rules.classes[response_type].items()
        if _truth_table(rule, tables, rules, every) >> assignment & 1
    ]
    return (
        f"{response_type}: with {', '.join(true) or 'nothing'} true and all others false a"
        f" completion falls in {' and '.join(classes) or 'no class'}; it must fall in exactly one"
    )


def _variable(i: int, count: int) -> int:
    """The truth table of variable i of ``count``: bit k is its value under assignment k, bit i of k."""
    block = 1 << i
    table = ((1 << block) - 1) << block
    for doubled in range(i + 1, count):
        table |= table << (1 << doubled)
    return table


def _truth_table(rule: Conjunction, tables: dict[str, int], rules: Rules, every: int) -> int:
    """The truth table of a conjunction; those of derived propositions are added to ``tables``."""
    result = every
    for names, flip in ((rule.all, 0), (rule.none, every)):
        for name in names:
            if name not in tables:
                tables[name] = _truth_table(rules.derived[name], tables, rules, every)
            result &= tables[name] ^ flip
    return result


def unwritten(folder: Path) -> Iterator[RuleError]:
    """The propositions' texts that are placeholders."""
    for path in visible(folder / "propositions", "*.yaml"):
        try:
            if PLACEHOLDER.encode() not in path.read_bytes():
                continue
            raw = read_mapping(path)
        except (OSError, RuleError):
            continue  # loading reports it
        for place, text in _texts(raw):
            if text.startswith(PLACEHOLDER):
                name, what = ".".join(map(str, place)), text.removeprefix(PLACEHOLDER)
                yield RuleError(
                    f"{name}: not written yet; write {what}", place_of(path, raw, place)
                )


def unread(folder: Path) -> Iterator[RuleError]:
    """The YAML files that nothing reads: of a misspelt name, or an ending of another kind."""
    for path in [*visible(folder, "*"), *visible(folder / "propositions", "*")]:
        ending = path.suffix.lower()
        if ending not in (".yaml", ".yml"):
            continue
        known = path.stem in SECTIONS or path.parent != folder
        if not known:
            names = [f"{name}.yaml" for name in SECTIONS]
            yield RuleError(f"read by nothing; {suggest(f'{path.stem}.yaml', names)}", path)
        elif path.suffix != ".yaml":
            yield RuleError(f"read by nothing: name it {path.stem}.yaml", path)


def unused_derived(folder: Path, rules: Rules) -> Iterator[RuleError]:
    """The derived propositions that neither a class nor a role depends on."""
    used: set[str] = set()
    todo = [name for name in rules.roles.model_dump().values() if name]
    for classes in rules.classes.values():
        todo += [name for rule in classes.values() for name in (*rule.all, *rule.none)]
    while todo:
        name = todo.pop()
        if name in rules.derived and name not in used:
            used.add(name)
            todo += [*rules.derived[name].all, *rules.derived[name].none]
    path = folder / "derived.yaml"
    for name in rules.derived:
        if name not in used:
            message = f"'{name}' is used nowhere: name it in completion_classes.yaml or roles.yaml, or drop it"
            yield RuleError(message, place_of(path, read_mapping(path), [name]))


def _texts(value: Any, *place: str | int) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, *place, key)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _texts(item, *place, i)


def check_rules(folder: Path) -> list[RuleError]:
    """Everything that is wrong with the rules of a folder; an empty list if nothing is."""
    return checked_rules(folder)[1]


def checked_rules(folder: Path) -> tuple[Rules | None, list[RuleError]]:
    """The rules of a folder (None if they cannot be loaded), and everything that is wrong with them."""
    rules, errors = load_with_errors(folder)
    errors += [*unread(folder), *unwritten(folder)]
    if rules is None or errors:
        return rules, errors
    path = folder / "completion_classes.yaml"
    problems = {name: partition_error(rules, name) for name in rules.response_types}
    return rules, [
        RuleError(problem, place_of(path, read_mapping(path), [name]))
        for name, problem in problems.items()
        if problem
    ]
