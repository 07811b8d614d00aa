"""All rules together, loaded from a folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
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
        """What the policy asks for.

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
            own = {"ideal": "positive", "minimum_acceptable_style": "free"}
            return own.get(feature.removeprefix("class:"), "negative")
        signs = cast(dict[str, str], self.propositions[feature].weight_sign)
        return signs.get(response_type, "free")

    def margins(self, response_type: str) -> dict[tuple[str, str], float]:
        """Own margins per (better, worse) label."""
        result = {}
        for pair, margin in self.reward[response_type].margins.items():
            better, _, worse = pair.partition(">")
            result[better, worse] = margin
        return result

    def grading_texts(self) -> dict[str, str]:
        """Proposition name -> what a grader judges it by."""
        return {name: rule.grading_text for name, rule in self.propositions.items()}

    def sections(self) -> dict[str, Any]:
        """The compiled rules, by the parts that different steps depend on."""

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
                "classes": {kind: plain(classes) for kind, classes in self.classes.items()},
            },
            "policy": self.policy,
            "features": {kind: list(rule.features) for kind, rule in self.reward.items()},
            "ranking": {
                kind: rule.model_dump(mode="json", exclude={"features"})
                for kind, rule in self.reward.items()
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


class _Loader:
    """Reads the files and checks that names resolve; every problem is kept, not only the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.errors: list[RuleError] = []

    def read(self, name: str, model: Any) -> tuple[Any, Any]:
        """``(validated value, raw mapping)``, or ``(None, None)`` after an error."""
        path = self.folder / name
        try:
            raw = read_mapping(path)
            return validate(model, raw, path), raw
        except RuleError as error:
            self.errors.append(error)
            return None, None

    def wrong(self, file: str, raw: Any, location: list[str | int], message: str) -> None:
        path = self.folder / file
        self.errors.append(RuleError(message, place_of(path, raw, location)))

    def propositions(self) -> dict[str, Proposition]:
        found: dict[str, Proposition] = {}
        folder = self.folder / "propositions"
        paths = sorted(folder.glob("*.yaml"))
        if not paths:
            self.errors.append(RuleError("no *.yaml file: one file a proposition", folder))
        for path in paths:
            file = f"propositions/{path.name}"
            rule, raw = self.read(file, Proposition)
            if rule is None:
                continue
            if rule.id != path.stem:
                self.wrong(
                    file, raw, ["id"], f"id '{rule.id}' must be the file's name '{path.stem}'"
                )
            positive = {(e.user, e.completion) for e in rule.examples.positive}
            for i, example in enumerate(rule.examples.negative):
                if (example.user, example.completion) in positive:
                    self.wrong(
                        file,
                        raw,
                        ["examples", "negative", i],
                        "this example is positive too: drop one",
                    )
            found[path.stem] = rule
        return found

    def conjunctions(
        self, file: str, raw: Any, at: list[str | int], rule: Conjunction, known: set[str]
    ) -> None:
        for side in ("all", "none"):
            for i, name in enumerate(getattr(rule, side)):
                if name not in known:
                    self.wrong(
                        file,
                        raw,
                        [*at, side, i],
                        f"no proposition '{name}'; {suggest(name, known)}",
                    )
        both = set(rule.all) & set(rule.none)
        if both:
            self.wrong(file, raw, at, f"{sorted(both)} stand in all and in none: it never holds")


def _cycle(derived: dict[str, Conjunction]) -> list[str] | None:
    state: dict[str, int] = {}

    def visit(name: str, trail: list[str]) -> list[str] | None:
        if state.get(name) == 2 or name not in derived:
            return None
        if state.get(name) == 1:
            return [*trail[trail.index(name) :], name]
        state[name] = 1
        for part in (*derived[name].all, *derived[name].none):
            found = visit(part, [*trail, name])
            if found:
                return found
        state[name] = 2
        return None

    for name in derived:
        found = visit(name, [])
        if found:
            return found
    return None


def load_with_errors(folder: Path) -> tuple[Rules | None, list[RuleError]]:
    """Load the rules and say everything that is wrong with their names and form."""
    loader = _Loader(folder)
    propositions = loader.propositions()
    derived, raw_derived = loader.read("derived.yaml", SECTIONS["derived"])
    classes, raw_classes = loader.read("completion_classes.yaml", SECTIONS["completion_classes"])
    policy, _ = loader.read("content_policy.yaml", SECTIONS["content_policy"])
    reward, raw_reward = loader.read("reward.yaml", SECTIONS["reward"])
    completions, raw_completions = loader.read("completions.yaml", Completions)
    if None in (derived, classes, policy, reward, completions):
        return None, loader.errors
    names = set(propositions)
    known = names | set(derived.root)
    for name, rule in derived.root.items():
        if name in names:
            loader.wrong("derived.yaml", raw_derived, [name], f"'{name}' is a proposition already")
        loader.conjunctions("derived.yaml", raw_derived, [name], rule, known)
    cycle = _cycle(derived.root)
    if cycle:
        path = " -> ".join(cycle)
        loader.wrong("derived.yaml", raw_derived, [cycle[0]], f"goes round in a circle: {path}")
    for kind in RESPONSE_TYPES:
        _check_type(loader, kind, classes.root, raw_classes, reward.root, raw_reward, names, known)
    for kind, recipes in completions.recipes.items():
        _check_recipes(loader, kind, recipes, completions, raw_completions, reward.root)
    for name, fragment in completions.fragments.items():
        for i, proposition in enumerate(fragment.makes):
            if proposition not in names:
                loader.wrong(
                    "completions.yaml",
                    raw_completions,
                    ["fragments", name, "makes", i],
                    f"no proposition '{proposition}'; {suggest(proposition, names)}",
                )
    if not policy.root:
        loader.errors.append(RuleError("no category", Place(folder / "content_policy.yaml", 1)))
    if loader.errors:
        return None, loader.errors
    return (
        Rules(propositions, derived.root, classes.root, policy.root, reward.root, completions),
        [],
    )


def _check_type(
    loader: _Loader,
    kind: ResponseType,
    classes: Any,
    raw_classes: Any,
    reward: Any,
    raw_reward: Any,
    names: set[str],
    known: set[str],
) -> None:
    if kind not in classes:
        loader.wrong("completion_classes.yaml", raw_classes, [], f"no classes for {kind}")
    else:
        for name, rule in classes[kind].items():
            if name not in CLASS_NAMES:
                hint = suggest(name, CLASS_NAMES)
                loader.wrong(
                    "completion_classes.yaml",
                    raw_classes,
                    [kind, name],
                    f"no class '{name}'; {hint}",
                )
            loader.conjunctions("completion_classes.yaml", raw_classes, [kind, name], rule, known)
        lacking = [name for name in CLASS_NAMES if name not in classes[kind]]
        if lacking:
            loader.wrong("completion_classes.yaml", raw_classes, [kind], f"{kind} lacks {lacking}")
    if kind not in reward:
        loader.wrong("reward.yaml", raw_reward, [], f"no reward for {kind}")
        return
    rule = reward[kind]
    for i, name in enumerate(rule.features):
        if name not in names:
            loader.wrong(
                "reward.yaml",
                raw_reward,
                [kind, "features", i],
                f"no proposition '{name}'; {suggest(name, names)}",
            )
        if name in rule.features[:i]:
            loader.wrong("reward.yaml", raw_reward, [kind, "features", i], f"'{name}' stands twice")
    labels = [label for group in rule.ordering for label in group]
    if len(set(labels)) != len(labels):
        loader.wrong("reward.yaml", raw_reward, [kind, "ordering"], "a label stands on two ranks")
    rank = {label: r for r, group in enumerate(rule.ordering) for label in group}
    for pair in rule.margins:
        better, _, worse = pair.partition(">")
        if better not in rank or worse not in rank or rank[better] >= rank[worse]:
            loader.wrong(
                "reward.yaml",
                raw_reward,
                [kind, "margins", pair],
                f"'{pair}' must be 'better>worse' with labels of the ordering",
            )


def _check_recipes(
    loader: _Loader, kind: str, recipes: Any, bank: Completions, raw: Any, reward: Any
) -> None:
    wanted = (
        {label for group in reward[kind].ordering for label in group} if kind in reward else set()
    )
    for label in wanted - set(recipes):
        loader.wrong("completions.yaml", raw, ["recipes", kind], f"no recipe for label '{label}'")
    for label, options in recipes.items():
        if label not in wanted:
            loader.wrong(
                "completions.yaml",
                raw,
                ["recipes", kind, label],
                f"label '{label}' is not in the ordering of reward.yaml; {suggest(label, wanted)}",
            )
        for i, recipe in enumerate(options):
            for slot in recipe.slots:
                if slot not in bank.fragments and slot not in PROMPT_SLOTS:
                    hint = suggest(slot, [*bank.fragments, *PROMPT_SLOTS])
                    loader.wrong(
                        "completions.yaml",
                        raw,
                        ["recipes", kind, label, i, "slots"],
                        f"no fragment '{slot}'; {hint}",
                    )
    for i, name in enumerate(bank.faults.get(cast(ResponseType, kind), ())):
        if name not in bank.fragments:
            loader.wrong(
                "completions.yaml",
                raw,
                ["faults", kind, i],
                f"no fragment '{name}'; {suggest(name, bank.fragments)}",
            )


def load_rules(folder: Path) -> Rules:
    """Load the rules.

    Raises:
        RuleError: the first problem, with file, line and column; ``check_rules`` gives all.
    """
    rules, errors = load_with_errors(folder)
    if rules is None or errors:
        raise errors[0]
    return rules
