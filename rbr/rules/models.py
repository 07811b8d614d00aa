"""The rules as data.

Names are checked against those that the validation's context knows: ``response_types``, ``propositions``,
``terms`` (propositions and derived ones), ``fragments``, ``slots``. Without a context every name is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from rbr.rules.yaml import nfc, suggest

Sign = Literal["positive", "negative", "free"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


def _shown(name: str) -> str:
    """A name without spaces at its ends, which nobody sees; what looks the same is the same."""
    name = nfc(name)
    if not name or name != name.strip():
        raise ValueError("must be a name: write at least a letter, and no space before or after it")
    return name


def _seen(text: str) -> str:
    if not text.strip():
        raise ValueError("must have a letter or another sign: write a wording, or drop it")
    return text


def _code(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise ValueError("must be the code of a language, such as de or pt-BR")
    return name


Language = Annotated[str, AfterValidator(_code)]
Wording = Annotated[str, AfterValidator(_seen)]
# Categories and kinds, which prompts name too.
PolicyName = Annotated[str, AfterValidator(_shown)]
# As it is written: neither true nor '2' is a number.
Margin = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=2000)]


def _known(noun: str, names: str) -> AfterValidator:
    """A name must be one of those that the context has under ``names``."""

    def check(name: str, info: ValidationInfo) -> str:
        known = (info.context or {}).get(names)
        if known is not None and name not in known:
            raise ValueError(f"no {noun} '{name}'; {suggest(name, known)}")
        return name

    return AfterValidator(check)


def _complete(values: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    """A mapping must have every response type as a key."""
    missing = [
        name for name in (info.context or {}).get("response_types", ()) if name not in values
    ]
    if missing:
        raise ValueError(f"no entry for response type {', '.join(missing)}: add one")
    return values


TypeName = Annotated[Name, _known("response type", "response_types")]
PropositionName = Annotated[Name, _known("proposition", "propositions")]
Term = Annotated[Name, _known("proposition", "terms")]
FragmentName = Annotated[Name, _known("fragment", "fragments")]
Slot = Annotated[Name, _known("fragment", "slots")]


class Rule(BaseModel):
    """Base of all rule models: unknown keys are errors."""

    # A schema is built at its first use, and nested ones with it: a command starts sooner.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Example(Rule):
    """A few-shot example: the user's turn and a completion."""

    user: Text
    completion: Text


class Examples(Rule):
    """Few-shot examples on both sides."""

    positive: tuple[Example, ...] = Field(min_length=3)
    negative: tuple[Example, ...] = Field(min_length=3)


class Proposition(Rule):
    """A yes/no statement on a completion given its conversation.

    ``weight_sign``: for the response types that it matters for, the sign its weight should have.
    """

    id: Name
    question: Text
    definition: Text
    true_when: Text
    false_when: Text
    weight_sign: dict[TypeName, Sign]
    examples: Examples

    @property
    def grading_text(self) -> str:
        """All of it that a grader reads: a change here makes its grades stale."""
        parts = [self.question, self.definition, self.true_when, self.false_when]
        for side in (self.examples.positive, self.examples.negative):
            parts += [f"{example.user}\x1f{example.completion}" for example in side]
        return "\x1e".join(parts)


class Conjunction(Rule):
    """All of ``all`` hold and none of ``none``."""

    all: tuple[Term, ...] = ()
    none: tuple[Term, ...] = ()

    @model_validator(mode="after")
    def _can_hold(self) -> Conjunction:
        if not self.all and not self.none:
            raise ValueError(
                "names nothing, so it always holds: name propositions under all or none"
            )
        both = sorted(set(self.all) & set(self.none))
        if both:
            raise ValueError(f"{', '.join(both)} stand in all and in none: it never holds")
        return self


class RewardRule(Rule):
    """What the reward of one response type sees and how completions are ranked."""

    features: tuple[PropositionName, ...] = Field(min_length=1)
    labels: dict[Name, Annotated[tuple[Name, ...], Field(min_length=1)]] = Field(
        description="labels of comparisons, and the completion classes that one may be graded as"
    )
    ordering: tuple[Annotated[tuple[Name, ...], Field(min_length=1)], ...] = Field(min_length=2)
    margin: Margin = 1.0
    margins: dict[str, Margin] = Field(
        default={}, description="own margins, under 'better>worse'; fractions count in full"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> RewardRule:
        twice = [name for i, name in enumerate(self.features) if name in self.features[:i]]
        if twice:
            raise ValueError(f"feature '{twice[0]}' stands twice")
        rank = {label: r for r, labels in enumerate(self.ordering) for label in labels}
        if len(rank) != sum(map(len, self.ordering)):
            raise ValueError("a label stands on two ranks of the ordering")
        if rank.keys() != self.labels.keys():
            different = ", ".join(sorted(rank.keys() ^ self.labels.keys()))
            raise ValueError(f"labels and ordering must name the same labels: {different}")
        for pair in self.margins:
            better, _, worse = pair.partition(">")
            if better not in rank or worse not in rank or rank[better] >= rank[worse]:
                raise ValueError(f"'{pair}' must be 'better>worse' with labels of the ordering")
        return self


class Fragment(Rule):
    """Wordings with the propositions that they make true."""

    makes: tuple[PropositionName, ...]
    texts: tuple[Wording, ...] = Field(min_length=1)
    translations: dict[Language, Annotated[tuple[Wording, ...], Field(min_length=1)]] = Field(
        default={}, description="wordings for prompts of another language, by its code"
    )

    def in_language(self, language: str | None) -> tuple[str, ...]:
        """The wordings for a prompt of a language; ``texts`` where there are none of its own."""
        return self.translations.get(language or "", self.texts)

    @property
    def all_texts(self) -> tuple[str, ...]:
        """The wordings of all languages."""
        return (*self.texts, *(text for some in self.translations.values() for text in some))


class Recipe(Rule):
    """Slots joined in order, then ``faults`` (from, to) wordings of the fault groups."""

    slots: tuple[Slot, ...] = Field(min_length=1)
    faults: tuple[Count, Count] = (0, 0)

    @model_validator(mode="after")
    def _least_first(self) -> Recipe:
        least, most = self.faults
        if least > most:
            raise ValueError(f"faults: {least} is more than {most}: write [{most}, {least}]")
        return self


class Completions(Rule):
    """What completions are composed of; a policy may do without."""

    language: Language | None = Field(
        default=None, description="of all texts that are no translations"
    )
    fragments: dict[Name, Fragment] = {}
    recipes: dict[TypeName, dict[Name, Annotated[tuple[Recipe, ...], Field(min_length=1)]]] = {}
    faults: dict[TypeName, Annotated[tuple[FragmentName, ...], Field(min_length=1)]] = {}
    several: tuple[Name, ...] = Field(
        default=(),
        description="labels of which a prompt gets comparisons.bad_per_prompt completions",
    )
    taste: tuple[Annotated[tuple[Name, ...], Field(min_length=1)], ...] = Field(
        default=(), description="how simulated annotators rank the labels, best first"
    )

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that a prompt may name; none where there are no translations."""
        translated = {name for one in self.fragments.values() for name in one.translations}
        own = [self.language] if self.language and translated else []
        return (*own, *sorted(translated - set(own)))


class ResponseType(Rule):
    """What the policy asks for on a prompt, and what goes wrong in answers to it."""

    counts: Literal["unsafe", "over_refusal"]
    best: Name = Field(description="name its best completion class")
    acceptable: tuple[Name, ...] = ()


class Roles(Rule):
    """The proposition or derived one that means what metrics, graders and recipes ask for."""

    refused: Term = Field(description="name what says that an answer refuses: metrics need it")
    disallowed: Term = Field(description="name what says that it is not allowed: metrics need it")
    complied: Term | None = None
    partly_complied: Term | None = None
    nonsense: Term | None = None


def _two(pair: tuple[str, str]) -> tuple[str, str]:
    """What excludes itself could never hold."""
    if pair[0] == pair[1]:
        raise ValueError(f"'{pair[0]}' excludes itself: name two propositions, or drop the pair")
    return pair


Exclusion = Annotated[tuple[PropositionName, PropositionName], AfterValidator(_two)]


class Relations(Rule):
    """What holds between propositions, whoever labels or grades."""

    implies: dict[PropositionName, Annotated[tuple[PropositionName, ...], Field(min_length=1)]] = {}
    excludes: tuple[Exclusion, ...] = ()

    def closure(self, true: Iterable[str]) -> frozenset[str]:
        """These propositions and all that they imply."""
        held, todo = set(), [*true]
        while todo:
            name = todo.pop()
            if name not in held:
                held.add(name)
                todo += self.implies.get(name, ())
        return frozenset(held)

    def related(self, names: Iterable[str]) -> frozenset[str]:
        """These propositions and all that relations link with them, however far."""
        links = [{cause, *effects} for cause, effects in self.implies.items()]
        links += [set(pair) for pair in self.excludes]
        found, size = set(names), -1
        while len(found) > size:
            size = len(found)
            found = found.union(*(link for link in links if link & found))
        return frozenset(found)

    def contradiction(self, true: Iterable[str]) -> str | None:
        """What is inconsistent in labels, or None."""
        held = set(true)
        for cause, effects in self.implies.items():
            for effect in effects:
                if cause in held and effect not in held:
                    return f"{cause} implies {effect}: add it or drop {cause}"
        for one, other in self.excludes:
            if one in held and other in held:
                return f"{one} and {other} cannot both hold: drop one"
        return None

    @model_validator(mode="after")
    def _can_hold(self) -> Relations:
        for name in self.implies:
            problem = self.contradiction(self.closure([name]))
            if problem:
                raise ValueError(f"'{name}' could never hold: {problem}")
        return self


UNRELATED = Relations()


class Derived(RootModel[dict[Name, Conjunction]]):
    """Derived propositions by name."""


class ResponseTypes(RootModel[Annotated[dict[Name, ResponseType], Field(min_length=1)]]):
    """The response types, in the order of reports."""


ByType = AfterValidator(_complete)


class CompletionClasses(
    RootModel[
        Annotated[dict[TypeName, Annotated[dict[Name, Conjunction], Field(min_length=2)]], ByType]
    ]
):
    """The completion classes of each response type, best first."""


class ContentPolicy(
    RootModel[
        Annotated[
            dict[PolicyName, Annotated[dict[PolicyName, TypeName], Field(min_length=1)]],
            Field(min_length=1),
        ]
    ]
):
    """The response type of each category and kind of prompts."""


class Reward(RootModel[Annotated[dict[TypeName, RewardRule], ByType]]):
    """The reward of each response type."""


# The files of one mapping each, by name.
SECTIONS: dict[str, type[BaseModel]] = {
    "response_types": ResponseTypes,
    "roles": Roles,
    "relations": Relations,
    "derived": Derived,
    "completion_classes": CompletionClasses,
    "content_policy": ContentPolicy,
    "reward": Reward,
    "completions": Completions,
}
# Files that a policy may do without.
OPTIONAL = ("relations", "derived", "completions")
# The role that a slot of the prompt's own text makes true.
SLOT_ROLES = {"answer": "complied", "partial": "partly_complied", "other_answer": "nonsense"}
