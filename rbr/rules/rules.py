"""All rules together, loaded from a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, cast

from pydantic import RootModel

from rbr.errors import Place, RuleError
from rbr.rules.models import (
    CLASS_NAMES,
    PROMPT_SLOTS,
    RESPONSE_TYPES,
    Completions,
    Conjunction,
    Proposition,
    ResponseType,
    RewardRule,
)
from rbr.rules.yaml import place_of, read_mapping, suggest, validate

# The files of one mapping each, by name.
SECTIONS: dict[str, Any] = {
    "derived": RootModel[dict[str, Conjunction]],
    "completion_classes": RootModel[dict[ResponseType, dict[str, Conjunction]]],
    "content_policy": RootModel[dict[str, dict[str, ResponseType]]],
    "reward": RootModel[dict[ResponseType, RewardRule]],
}


@dataclass(frozen=True)
class Rules:
    """The rules of one folder. All names resolve; propositions are in name order."""

    propositions: dict[str, Proposition]
    derived: dict[str, Conjunction]
    classes: dict[str, dict[str, Conjunction]]
    policy: dict[str, dict[str, str]]
    reward: dict[str, RewardRule]
    completions: Completions

    @property
    def proposition_names(self) -> tuple[str, ...]:
        return tuple(self.propositions)

    @property
    def response_types(self) -> tuple[str, ...]:
        return RESPONSE_TYPES

    @property
    def class_names(self) -> tuple[str, ...]:
        """Best to worst."""
        return CLASS_NAMES

    def response_type(self, category: str, kind: str) -> str:
        """The response type that the policy gives a prompt.

        Raises:
            RuleError: if the policy does not know the category or kind.
        """
        if category not in self.policy:
            raise RuleError(f"no category '{category}'; {suggest(category, self.policy)}")
        kinds = self.policy[category]
        if kind not in kinds:
            raise RuleError(f"category '{category}' has no kind '{kind}'; {suggest(kind, kinds)}")
        return kinds[kind]

    def feature_names(self, response_type: str) -> list[str]:
        """Propositions, then ``class:<name>`` for the five classes."""
        return [*self.reward[response_type].features, *(f"class:{name}" for name in CLASS_NAMES)]

    def sign(self, response_type: str, feature: str) -> str:
        """Expected sign of a feature's weight; of the classes only the acceptable one's is free."""
        if feature.startswith("class:"):
            class_signs = {"ideal": "positive", "minimum_acceptable_style": "free"}
            return class_signs.get(feature.removeprefix("class:"), "negative")
        signs = cast(dict[str, str], self.propositions[feature].weight_sign)
        return signs.get(response_type, "free")

    def margins(self, response_type: str) -> dict[tuple[str, str], float]:
        """The margins that differ from the default, per (better, worse) label."""
        result = {}
        for pair, margin in self.reward[response_type].margins.items():
            better, _, worse = pair.partition(">")
            result[better, worse] = margin
        return result

    def grading_texts(self) -> dict[str, str]:
        """Proposition name -> the text that a grader reads of it."""
        return {name: rule.grading_text for name, rule in self.propositions.items()}

    def sections(self) -> dict[str, Any]:
        """The compiled rules, in the sections that artifacts depend on."""

        def plain(values: dict[str, Any]) -> dict[str, Any]:
            return {name: value.model_dump(mode="json") for name, value in values.items()}

        return {
            "names": list(self.proposition_names),
            "propositions": {
                name: {k: v for k, v in rule.items() if k != "weight_sign"}
                for name, rule in plain(self.propositions).items()
            },
            "classes": {
                "derived": plain(self.derived),
                "classes": {name: plain(classes) for name, classes in self.classes.items()},
            },
            "policy": self.policy,
            "features": {name: list(rule.features) for name, rule in self.reward.items()},
            "ranking": {
                name: rule.model_dump(mode="json", exclude={"features"})
                for name, rule in self.reward.items()
            },
            "signs": {name: rule.weight_sign for name, rule in self.propositions.items()},
            "completions": self.completions.model_dump(mode="json"),
        }

    def hashes(self) -> dict[str, str]:
        """SHA-256 per section, and per proposition: of the meaning, not of layout or comments."""
        sections = self.sections()
        values: dict[str, Any] = {
            f"propositions/{n}": v for n, v in sections["propositions"].items()
        }
        values |= {name: value for name, value in sections.items() if name != "propositions"}
        return {name: _digest(value) for name, value in values.items()}

    @property
    def digest(self) -> str:
        """One hash of all rules."""
        return _digest(self.hashes())


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=list).encode()).hexdigest()


@dataclass(frozen=True)
class _File:
    """A rule file: its values, where each stands, and the list that all problems are added to."""

    path: Path
    raw: Any
    value: Any
    errors: list[RuleError]

    @classmethod
    def read(cls, path: Path, model: Any, errors: list[RuleError]) -> _File | None:
        """Read and validate a file; None after an error."""
        try:
            raw = read_mapping(path)
            return cls(path, raw, validate(model, raw, path), errors)
        except RuleError as error:
            errors.append(error)
            return None

    def error(self, location: Sequence[str | int], message: str) -> None:
        self.errors.append(RuleError(message, place_of(self.path, self.raw, location)))

    def check_known(
        self, location: Sequence[str | int], noun: str, name: str, known: Collection[str]
    ) -> None:
        if name not in known:
            self.error(location, f"no {noun} '{name}'; {suggest(name, known)}")

    def check_conjunction(
        self, location: Sequence[str], rule: Conjunction, known: Collection[str]
    ) -> None:
        for side, names in (("all", rule.all), ("none", rule.none)):
            for i, name in enumerate(names):
                self.check_known([*location, side, i], "proposition", name, known)
        both = sorted(set(rule.all) & set(rule.none))
        if both:
            self.error(location, f"{both} stand in all and in none: it never holds")


def _read_propositions(folder: Path, errors: list[RuleError]) -> dict[str, Proposition]:
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        errors.append(RuleError("no *.yaml file: one file a proposition", folder))
    files = [file for path in paths if (file := _File.read(path, Proposition, errors))]
    for file in files:
        name, rule = file.path.stem, file.value
        if rule.id != name:
            file.error(["id"], f"id '{rule.id}' must be the file's name '{name}'")
        for i, example in enumerate(rule.examples.negative):
            if example in rule.examples.positive:
                message = "this example is positive too: drop one"
                file.error(["examples", "negative", i], message)
    return {file.path.stem: file.value for file in files}


def _cycle(derived: dict[str, Conjunction]) -> tuple[str, ...] | None:
    """A derived proposition's way back to itself, or None."""
    terms = {name: [*rule.all, *rule.none] for name, rule in derived.items()}
    try:
        TopologicalSorter(terms).prepare()
    except CycleError as error:
        return tuple(reversed(error.args[1]))
    return None


def _check_derived(file: _File, propositions: Collection[str], known: Collection[str]) -> None:
    for name, rule in file.value.root.items():
        if name in propositions:
            file.error([name], f"'{name}' is a proposition already")
        file.check_conjunction([name], rule, known)
    cycle = _cycle(file.value.root)
    if cycle:
        file.error([cycle[0]], f"the definitions form a cycle: {' -> '.join(cycle)}")


def _check_classes(file: _File, known: Collection[str]) -> None:
    for response_type in RESPONSE_TYPES:
        classes = file.value.root.get(response_type)
        if classes is None:
            file.error([], f"no classes for {response_type}")
            continue
        for name, rule in classes.items():
            file.check_known([response_type, name], "class", name, CLASS_NAMES)
            file.check_conjunction([response_type, name], rule, known)
        missing = [name for name in CLASS_NAMES if name not in classes]
        if missing:
            file.error([response_type], f"{response_type} lacks {missing}")


def _check_reward(file: _File, propositions: Collection[str]) -> None:
    for response_type in RESPONSE_TYPES:
        rule = file.value.root.get(response_type)
        if rule is None:
            file.error([], f"no reward for {response_type}")
            continue
        for i, name in enumerate(rule.features):
            file.check_known([response_type, "features", i], "proposition", name, propositions)
            if name in rule.features[:i]:
                file.error([response_type, "features", i], f"'{name}' stands twice")
        rank = {label: r for r, group in enumerate(rule.ordering) for label in group}
        if len(rank) != sum(map(len, rule.ordering)):
            file.error([response_type, "ordering"], "a label stands on two ranks")
        for pair in rule.margins:
            better, _, worse = pair.partition(">")
            if better not in rank or worse not in rank or rank[better] >= rank[worse]:
                message = f"'{pair}' must be 'better>worse' with labels of the ordering"
                file.error([response_type, "margins", pair], message)


def _check_completions(
    file: _File, reward: Mapping[str, RewardRule], propositions: Collection[str]
) -> None:
    completions: Completions = file.value
    slots = [*completions.fragments, *PROMPT_SLOTS]
    for response_type, recipes in completions.recipes.items():
        rule = reward.get(response_type)
        labels = {label for group in rule.ordering for label in group} if rule else set()
        for label in labels - set(recipes):
            file.error(["recipes", response_type], f"no recipe for label '{label}'")
        for label, options in recipes.items():
            at = ["recipes", response_type, label]
            if label not in labels:
                hint = suggest(label, labels)
                file.error(at, f"label '{label}' is not in the ordering of reward.yaml; {hint}")
            for i, recipe in enumerate(options):
                for slot in recipe.slots:
                    file.check_known([*at, i, "slots"], "fragment", slot, slots)
        for i, name in enumerate(completions.faults.get(response_type, ())):
            file.check_known(["faults", response_type, i], "fragment", name, completions.fragments)
    for name, fragment in completions.fragments.items():
        for i, proposition in enumerate(fragment.makes):
            at = ["fragments", name, "makes"]
            file.check_known([*at, i], "proposition", proposition, propositions)


def load_with_errors(folder: Path) -> tuple[Rules | None, list[RuleError]]:
    """Load the rules, and find everything that is wrong with their names and form."""
    errors: list[RuleError] = []
    propositions = _read_propositions(folder / "propositions", errors)
    files = [
        _File.read(folder / f"{name}.yaml", model, errors)
        for name, model in {**SECTIONS, "completions": Completions}.items()
    ]
    derived, classes, policy, reward, completions = files
    if not (derived and classes and policy and reward and completions):
        return None, errors
    known = {*propositions, *derived.value.root}
    _check_derived(derived, propositions, known)
    _check_classes(classes, known)
    _check_reward(reward, propositions)
    _check_completions(completions, reward.value.root, propositions)
    if not policy.value.root:
        errors.append(RuleError("no category", Place(policy.path, 1)))
    if errors:
        return None, errors
    return Rules(
        propositions,
        derived.value.root,
        classes.value.root,
        policy.value.root,
        reward.value.root,
        completions.value,
    ), []


def load_rules(folder: Path) -> Rules:
    """Load the rules.

    Raises:
        RuleError: the first problem, with file, line and column; ``check_rules`` returns all.
    """
    rules, errors = load_with_errors(folder)
    if rules is None:
        raise errors[0]
    return rules
