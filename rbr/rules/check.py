"""Checking a folder of rules: form, names, cycles, placeholders, and that each completion is of one class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rbr.errors import RuleError
from rbr.rules.algebra import class_scores
from rbr.rules.rules import Rules, load_with_errors
from rbr.rules.yaml import place_of, read_mapping

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

    All assignments of the propositions used are tried (at most 2^22).
    """
    used = propositions_used(rules, response_type)
    if len(used) > MAX_PROPOSITIONS:
        return (
            f"the classes use {len(used)} propositions; at most {MAX_PROPOSITIONS} can be checked"
        )
    columns = [rules.proposition_names.index(name) for name in used]
    step = 1 << 16
    for start in range(0, 1 << len(used), step):
        numbers = np.arange(start, min(start + step, 1 << len(used)))
        labels = np.zeros((len(numbers), len(rules.proposition_names)))
        for bit, column in enumerate(columns):
            labels[:, column] = (numbers >> bit) & 1
        counts = class_scores(labels, rules, response_type).sum(axis=1)
        wrong = np.flatnonzero(counts != 1)
        if len(wrong):
            row = labels[wrong[0]]
            scores = class_scores(row[None], rules, response_type)[0]
            names = rules.class_names(response_type)
            classes = [name for name, score in zip(names, scores, strict=True) if score]
            true = [name for name, value in zip(rules.proposition_names, row, strict=True) if value]
            where = " and ".join(classes) if classes else "no class"
            return (
                f"{response_type}: with {', '.join(true) or 'nothing'} true and all others false a"
                f" completion falls in {where}; it must fall in exactly one"
            )
    return None


def unwritten(folder: Path) -> Iterator[RuleError]:
    """The propositions' texts that are placeholders."""
    for path in sorted((folder / "propositions").glob("*.yaml")):
        if PLACEHOLDER.encode() not in path.read_bytes():
            continue
        try:
            raw = read_mapping(path)
        except RuleError:
            continue  # loading reports it
        for place, text in _texts(raw):
            if text.startswith(PLACEHOLDER):
                name, what = ".".join(map(str, place)), text.removeprefix(PLACEHOLDER)
                yield RuleError(
                    f"{name}: not written yet; write {what}", place_of(path, raw, place)
                )


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
    rules, errors = load_with_errors(folder)
    errors += unwritten(folder)
    if rules is None or errors:
        return errors
    path = folder / "completion_classes.yaml"
    raw = read_mapping(path)
    problems = {name: partition_error(rules, name) for name in rules.response_types}
    return [
        RuleError(problem, place_of(path, raw, [name]))
        for name, problem in problems.items()
        if problem
    ]
