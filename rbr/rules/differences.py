"""What differs in meaning between two states of the rules, entry by entry."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from rbr.rules.rules import Rules

Verb = Literal["new", "removed", "reworded", "moved", "changed"]


class Difference(NamedTuple):
    """One entry that differs.

    Attributes:
        verb: ``reworded`` where nothing but texts differ; ``moved`` where an entry is the same under another
            name, or stands at another place of an order that means something.
        place: section and entry.
        detail: the former and the new value, where they are short.
    """

    verb: Verb
    place: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.verb:<9}{self.place}" + (f": {self.detail}" if self.detail else "")


def differences(before: Rules, now: Rules) -> list[Difference]:
    """All differences, section by section; none where only comments or layout differ."""
    both = before.propositions.keys() & now.propositions.keys()
    old, new = _entries(before, both), _entries(now, both)
    orders = (_orders(before), _orders(now))
    found: list[Difference] = []
    for section in dict.fromkeys(chain(old, new)):
        found += _compared(section, old.get(section, {}), new.get(section, {}))
        found += _reordered(section, orders[0].get(section, {}), orders[1].get(section, {}))
    # What the entries above do not show, such as another order of the terms of a conjunction.
    shown = {difference.place.partition("/")[0] for difference in found}
    sections, former = now.sections(), before.sections()
    hidden = [name for name in sections if sections[name] != former[name]]
    found += [
        Difference("changed", name) for name in hidden if not _SHOWN_IN.get(name, set()) & shown
    ]
    return found


# Values that many entries share: the same one says nothing of where an entry went.
_MARKS = (bool, str, float)
# Sections of the compiled rules -> where their entries are shown.
_SHOWN_IN = {
    "names": {"propositions"},
    "response_types": {"response_types", "classes", "labels"},
    "roles": {"roles", "relations", "derived"},
    "propositions": {"propositions"},
    "classes": {"derived", "classes"},
    "policy": {"policy"},
    "features": {"features"},
    "ranking": {"ranking", "labels"},
    "signs": {"signs", "propositions"},
    "completions": {"completions"},
}


def _entries(rules: Rules, both: Collection[str]) -> dict[str, dict[str, Any]]:
    """Section -> entry -> value.

    Args:
        both: the propositions that are old and new; the signs of others come and go with them.
    """
    written = rules.completions
    return {
        "response_types": {n: rule.model_dump() for n, rule in rules.types.items()},
        "roles": rules.roles.model_dump(),
        "relations": {
            **{f"implies.{n}": list(of) for n, of in rules.relations.implies.items()},
            **{f"excludes.{one}.{other}": True for one, other in rules.relations.excludes},
        },
        "propositions": {n: (_Text(text),) for n, text in rules.grading_texts().items()},
        "signs": _flat(
            {n: rule.weight_sign for n, rule in rules.propositions.items() if n in both}
        ),
        "derived": {n: rule.model_dump() for n, rule in rules.derived.items()},
        "classes": _flat(
            {t: {n: rule.model_dump() for n, rule in of.items()} for t, of in rules.classes.items()}
        ),
        "policy": _flat(rules.policy),
        "features": _flat({n: dict.fromkeys(of.features, True) for n, of in rules.reward.items()}),
        "labels": _flat({n: of.labels for n, of in rules.reward.items()}),
        "ranking": _flat(
            {
                n: {"ordering": _ranks(of.ordering), "margin": of.margin, **of.margins}
                for n, of in rules.reward.items()
            }
        ),
        "completions": {
            **{
                f"fragments.{n}": (_Text(of.model_dump(exclude={"makes"})), list(of.makes))
                for n, of in written.fragments.items()
            },
            **_flat({f"recipes.{n}": of for n, of in written.recipes.items()}),
            **{f"faults.{n}": list(of) for n, of in written.faults.items()},
            "several": list(written.several),
            "taste": list(written.taste),
        },
    }


def _orders(rules: Rules) -> dict[str, dict[str, Sequence[str]]]:
    """Section -> of what -> names in an order that means something."""
    return {
        "response_types": {"": list(rules.types)},
        "classes": {name: list(of) for name, of in rules.classes.items()},
    }


class _Text(NamedTuple):
    """Texts, of any form: where nothing else of an entry differs it is reworded."""

    value: Any


def _ranks(ordering: Sequence[Sequence[str]]) -> str:
    return " > ".join(" = ".join(labels) for labels in ordering)


def _flat(nested: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{name}.{key}": value for name, of in nested.items() for key, value in of.items()}


def _compared(section: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    gone = [name for name in old if name not in new]
    for name in [name for name in new if name not in old]:
        # A mere mark, such as a feature's, is the same as any other.
        same = [g for g in gone if old[g] == new[name] and not isinstance(new[name], _MARKS)]
        if same:
            gone.remove(same[0])
            yield Difference("moved", f"{section}/{same[0]}", f"now {name}")
        else:
            yield Difference("new", f"{section}/{name}")
    yield from (Difference("removed", f"{section}/{name}") for name in gone)
    for name in (name for name in new if name in old):
        if old[name] != new[name]:
            yield _changed(f"{section}/{name}", old[name], new[name])


def _changed(place: str, old: Any, new: Any) -> Difference:
    if isinstance(new, tuple) and new and isinstance(new[0], _Text):
        return Difference("reworded" if old[1:] == new[1:] else "changed", place)
    short = all(isinstance(value, str | float | None) for value in (old, new))
    return Difference("changed", place, f"{old} -> {new}" if short else "")


def _reordered(
    section: str, old: Mapping[str, Sequence[str]], new: Mapping[str, Sequence[str]]
) -> Iterator[Difference]:
    for name in (name for name in new if name in old):
        common = [n for n in new[name] if n in old[name]]
        former = [n for n in old[name] if n in new[name]]
        blocks = SequenceMatcher(a=former, b=common, autojunk=False).get_matching_blocks()
        kept = {n for block in blocks for n in common[block.b : block.b + block.size]}
        for moved in (n for n in common if n not in kept):
            place = f"{section}/{f'{name}.' if name else ''}{moved}"
            yield Difference(
                "moved", place, f"from place {former.index(moved) + 1} to {common.index(moved) + 1}"
            )
