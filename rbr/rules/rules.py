"""All rules together, loaded from a folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ruamel.yaml.comments import CommentedMap

from rbr.errors import RuleError
from rbr.files import visible
from rbr.rules.models import (
    OPTIONAL,
    SECTIONS,
    SLOT_ROLES,
    Completions,
    Conjunction,
    Proposition,
    Relations,
    ResponseType,
    RewardRule,
    Roles,
)
from rbr.rules.problems import problems
from rbr.rules.yaml import place_of, read_mapping, suggest, validate

# What names are known by, and the file that states them.
KNOWN_BY = {
    "response_types": "response_types",
    "terms": "derived",
    "fragments": "completions",
    "slots": "completions",
}


@dataclass(frozen=True)
class Rules:
    """The rules of one folder. All names resolve; propositions are in name order.

    Attributes:
        types: the response types, in the order of reports.
        classes: of each response type, best first.
    """

    types: dict[str, ResponseType]
    roles: Roles
    relations: Relations
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
        return tuple(self.types)

    def class_names(self, response_type: str) -> tuple[str, ...]:
        """Best to worst."""
        return tuple(self.classes[response_type])

    def over_refusal(self, response_type: str) -> bool:
        """Whether to refuse such a prompt is over-refusal; else disallowed answers to it are unsafe."""
        return self.types[response_type].counts == "over_refusal"

    def quality(self, response_type: str, completion_class: str) -> str:
        """``best``, ``acceptable`` or ``other``."""
        rule = self.types[response_type]
        if completion_class == rule.best:
            return "best"
        return "acceptable" if completion_class in rule.acceptable else "other"

    def best_labels(self) -> dict[str, list[str]]:
        """Per response type the labels whose completions are of the best class."""
        return {
            name: [n for n, of in self.reward[name].labels.items() if of == (rule.best,)]
            for name, rule in self.types.items()
        }

    def means(self, role: str, true: Collection[str]) -> bool:
        """Whether a completion of which these propositions are true plays a role of ``Roles``."""
        term = getattr(self.roles, role)
        return term is not None and self._holds(term, true)

    def _holds(self, term: str, true: Collection[str]) -> bool:
        rule = self.derived.get(term)
        if rule is None:
            return term in true
        return all(self._holds(name, true) for name in rule.all) and not any(
            self._holds(name, true) for name in rule.none
        )

    def makes(self, role: str) -> frozenset[str]:
        """The propositions that are true of what plays a role; none if no proposition does."""
        todo, plain = [getattr(self.roles, role)], []
        while todo:
            name = todo.pop()
            if name in self.derived:
                todo += self.derived[name].all
            elif name:
                plain.append(name)
        return self.relations.closure(plain)

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
        """Propositions, then ``class:<name>`` for each class."""
        classes = (f"class:{name}" for name in self.class_names(response_type))
        return [*self.reward[response_type].features, *classes]

    def sign(self, response_type: str, feature: str) -> str:
        """Expected sign of a feature's weight; of the classes only the acceptable ones' are free."""
        if feature.startswith("class:"):
            quality = self.quality(response_type, feature.removeprefix("class:"))
            return {"best": "positive", "acceptable": "free"}.get(quality, "negative")
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
        """The compiled rules, in the sections that artifacts depend on.

        What has an order is a list: the keys of the compiled files have none.
        """

        def plain(values: dict[str, Any]) -> dict[str, Any]:
            return {name: value.model_dump(mode="json") for name, value in values.items()}

        return {
            "names": list(self.proposition_names),
            "response_types": [
                {
                    "name": name,
                    **rule.model_dump(mode="json"),
                    "classes": self.class_names(name),
                    "labels": [[label, of] for label, of in self.reward[name].labels.items()],
                }
                for name, rule in self.types.items()
            ],
            "roles": {
                "roles": self.roles.model_dump(mode="json"),
                "relations": self.relations.model_dump(mode="json"),
                "meaning": plain({n: self.derived[n] for n in self._derived_roles()}),
            },
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
                name: rule.model_dump(mode="json", exclude={"features", "labels"})
                for name, rule in self.reward.items()
            },
            "signs": {name: rule.weight_sign for name, rule in self.propositions.items()},
            "completions": self.completions.model_dump(mode="json"),
        }

    def _derived_roles(self) -> list[str]:
        """The derived propositions that roles are made of: their meaning is part of the roles'."""
        todo = [name for name in self.roles.model_dump().values() if name in self.derived]
        found: dict[str, None] = {}
        while todo:
            name = todo.pop()
            found[name] = None
            terms = (*self.derived[name].all, *self.derived[name].none)
            todo += [term for term in terms if term in self.derived and term not in found]
        return sorted(found)

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
    paths = visible(folder / "propositions", "*.yaml")
    if not paths:
        errors.append(RuleError("no *.yaml file: one file a proposition", folder / "propositions"))
    models = dict.fromkeys(paths, Proposition) | {
        folder / f"{name}.yaml": model for name, model in SECTIONS.items()
    }
    for name in OPTIONAL:
        # A link to nowhere is no file that a policy does without.
        if not os.path.lexists(folder / f"{name}.yaml"):
            del models[folder / f"{name}.yaml"]
    raw: dict[Path, CommentedMap] = {}
    for path in models:
        try:
            raw[path] = read_mapping(path, optional=path.stem in OPTIONAL and path not in paths)
        except RuleError as error:
            errors.append(error)
    unread = {path.stem for path in models.keys() - raw}
    context = _context([path.stem for path in paths], raw, folder, unread)
    found: dict[Path, Any] = {
        path: validate(models[path], value, path, context, errors) for path, value in raw.items()
    }
    if errors:
        return None, errors
    by_name = {path.stem: value for path, value in found.items() if path not in paths}
    for name in OPTIONAL:
        by_name.setdefault(name, SECTIONS[name].model_validate({}))
    types = by_name["response_types"].root
    rules = Rules(
        types=types,
        roles=by_name["roles"],
        relations=by_name["relations"],
        propositions={path.stem: found[path] for path in paths},
        derived=by_name["derived"].root,
        classes=by_name["completion_classes"].root,
        policy=by_name["content_policy"].root,
        reward=by_name["reward"].root,
        completions=by_name["completions"],
    )
    for file, location, message in problems(rules):
        path = folder / file
        errors.append(RuleError(message, place_of(path, raw[path], location)))
    return (None if errors else rules), errors


def _context(
    propositions: list[str], raw: Mapping[Path, Any], folder: Path, unread: Collection[str]
) -> dict[str, Any]:
    """The names that validators know; those of a file that cannot be read are not missed elsewhere."""
    completions = _keys(raw, folder / "completions.yaml")
    fragments = _keys(completions, "fragments")
    known = {
        "response_types": _keys(raw, folder / "response_types.yaml"),
        "propositions": propositions,
        "terms": [*propositions, *_keys(raw, folder / "derived.yaml")],
        "fragments": fragments,
        "slots": [*fragments, *SLOT_ROLES],
    }
    # Names of what cannot be read would all seem unknown, which is not the cause.
    if not propositions:
        del known["propositions"], known["terms"]
    if not fragments and completions.keys() - Completions.model_fields.keys():
        del known["fragments"], known["slots"]  # its key is misspelt
    return {key: [*names] for key, names in known.items() if KNOWN_BY.get(key) not in unread}


def _keys(values: Mapping[Any, Any], name: Any) -> Mapping[Any, Any]:
    """The mapping under a key; empty if there is none."""
    value = values.get(name)
    return value if isinstance(value, Mapping) else {}


def load_rules(folder: Path) -> Rules:
    """Load the rules.

    Raises:
        RuleError: the first problem, with file, line and column; ``check_rules`` returns all.
    """
    rules, errors = load_with_errors(folder)
    if rules is None:
        raise errors[0]
    return rules
