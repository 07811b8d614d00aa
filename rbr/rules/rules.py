"""All rules together, loaded from a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, cast

from ruamel.yaml.comments import CommentedMap

from rbr.errors import RuleError
from rbr.rules.models import (
    CLASS_NAMES,
    PROMPT_SLOTS,
    RESPONSE_TYPES,
    SECTIONS,
    Completions,
    Conjunction,
    Proposition,
    RewardRule,
)
from rbr.rules.yaml import place_of, read_mapping, suggest, validate


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


def load_with_errors(folder: Path) -> tuple[Rules | None, list[RuleError]]:
    """Load the rules, and find everything that is wrong with their names and form."""
    errors: list[RuleError] = []
    paths = sorted((folder / "propositions").glob("*.yaml"))
    if not paths:
        errors.append(RuleError("no *.yaml file: one file a proposition", folder / "propositions"))
    models = dict.fromkeys(paths, Proposition) | {
        folder / f"{name}.yaml": model for name, model in SECTIONS.items()
    }
    raw: dict[Path, CommentedMap] = {}
    for path in models:
        try:
            raw[path] = read_mapping(path)
        except RuleError as error:
            errors.append(error)
    names = [path.stem for path in paths]
    derived_terms = raw.get(folder / "derived.yaml")
    completions = raw.get(folder / "completions.yaml")
    fragments = None if completions is None else completions.get("fragments")
    # Names of a file that cannot be read would all seem unknown, which is not the cause.
    known_fragments = [*fragments] if isinstance(fragments, Mapping) else None
    context = {
        "propositions": names or _Every(),
        "terms": [*names, *derived_terms] if names and derived_terms is not None else _Every(),
        "fragments": _Every() if known_fragments is None else known_fragments,
        "slots": _Every() if known_fragments is None else [*known_fragments, *PROMPT_SLOTS],
    }
    found: dict[Path, Any] = {
        path: validate(models[path], value, path, context, errors) for path, value in raw.items()
    }
    if errors:
        return None, errors
    derived, classes, policy, reward, made_of = (found[folder / f"{n}.yaml"] for n in SECTIONS)
    rules = Rules(
        {path.stem: found[path] for path in paths},
        derived.root,
        classes.root,
        policy.root,
        reward.root,
        made_of,
    )
    for file, location, message in _problems(rules):
        path = folder / file
        errors.append(RuleError(message, place_of(path, raw[path], location)))
    return (None if errors else rules), errors


class _Every:
    """Names that are not known: each may be right."""

    def __contains__(self, name: object) -> bool:
        return True


def _problems(rules: Rules) -> Iterator[tuple[str, list[str], str]]:
    """What is wrong between the files: file, place in it, and message."""
    for name, rule in rules.propositions.items():
        if rule.id != name:
            message = f"id '{rule.id}' must be the file's name '{name}'"
            yield f"propositions/{name}.yaml", ["id"], message
        if name in rules.derived:
            yield "derived.yaml", [name], f"'{name}' is a proposition already"
    cycle = _cycle(rules.derived)
    if cycle:
        message = f"the definitions form a cycle: {' -> '.join(cycle)}"
        yield "derived.yaml", [cycle[0]], message
    for response_type, recipes in rules.completions.recipes.items():
        labels = {label for group in rules.reward[response_type].ordering for label in group}
        place = ["recipes", response_type]
        for label in labels - set(recipes):
            yield "completions.yaml", place, f"no recipe for label '{label}'"
        for label in set(recipes) - labels:
            message = f"label '{label}' is not in the ordering of reward.yaml"
            yield "completions.yaml", [*place, label], f"{message}; {suggest(label, labels)}"


def _cycle(derived: dict[str, Conjunction]) -> tuple[str, ...] | None:
    """A derived proposition's way back to itself, or None."""
    terms = {name: [*rule.all, *rule.none] for name, rule in derived.items()}
    try:
        TopologicalSorter(terms).prepare()
    except CycleError as error:
        return tuple(reversed(error.args[1]))
    return None


def load_rules(folder: Path) -> Rules:
    """Load the rules.

    Raises:
        RuleError: the first problem, with file, line and column; ``check_rules`` returns all.
    """
    rules, errors = load_with_errors(folder)
    if rules is None:
        raise errors[0]
    return rules
