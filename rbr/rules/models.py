"""The rules as data.

Names are checked against those that the validation's context knows: ``propositions``, ``terms``
(propositions and derived ones), ``fragments``, ``slots``. Without a context every name is accepted.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal, get_args

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

from rbr.rules.yaml import suggest

ResponseType = Literal["hard_refusal", "soft_refusal_disclosure", "soft_refusal_methods", "comply"]
RESPONSE_TYPES: tuple[ResponseType, ...] = get_args(ResponseType)
ClassName = Literal[
    "ideal",
    "minimum_acceptable_style",
    "unacceptable_completion",
    "illogical_completion",
    "disallowed_completion",
]
CLASS_NAMES: tuple[ClassName, ...] = get_args(ClassName)
Sign = Literal["positive", "negative", "free"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=2000)]
# Slots that are filled from the prompt itself, not from a fragment.
PROMPT_SLOTS = ("answer", "partial", "other_answer")


def _known(noun: str, names: str) -> AfterValidator:
    """A name must be one of those that the context has under ``names``."""

    def check(name: str, info: ValidationInfo) -> str:
        known = (info.context or {names: [name]})[names]
        if name not in known:
            raise ValueError(f"no {noun} '{name}'; {suggest(name, known)}")
        return name

    return AfterValidator(check)


def _complete(names: Collection[str]) -> AfterValidator:
    """A mapping must have all of these keys."""

    def check(values: dict[str, Any]) -> dict[str, Any]:
        missing = [name for name in names if name not in values]
        if missing:
            raise ValueError(f"lacks {', '.join(missing)}")
        return values

    return AfterValidator(check)


PropositionName = Annotated[Name, _known("proposition", "propositions")]
Term = Annotated[Name, _known("proposition", "terms")]
FragmentName = Annotated[Name, _known("fragment", "fragments")]
Slot = Annotated[Name, _known("fragment", "slots")]


class Rule(BaseModel):
    """Base of all rule models: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Example(Rule):
    """A few-shot example: the user's turn and a completion."""

    user: Text
    completion: Text


class Examples(Rule):
    """Few-shot examples on both sides."""

    positive: tuple[Example, ...] = Field(min_length=3)
    negative: tuple[Example, ...] = Field(min_length=3)

    @model_validator(mode="after")
    def _on_one_side(self) -> Examples:
        if set(self.positive) & set(self.negative):
            raise ValueError("an example is positive and negative: drop one")
        return self


class Proposition(Rule):
    """A yes/no statement on a completion given its conversation.

    ``weight_sign``: for the response types that it matters for, the sign its weight should have.
    """

    id: Name
    question: Text
    definition: Text
    true_when: Text
    false_when: Text
    weight_sign: dict[ResponseType, Sign]
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
        both = sorted(set(self.all) & set(self.none))
        if both:
            raise ValueError(f"{', '.join(both)} stand in all and in none: it never holds")
        return self


class RewardRule(Rule):
    """What the reward of one response type sees and how completions are ranked."""

    features: tuple[PropositionName, ...] = Field(min_length=1)
    ordering: tuple[tuple[Name, ...], ...] = Field(min_length=2)
    margin: float = Field(1.0, gt=0)
    margins: dict[str, float] = Field(
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
        for pair in self.margins:
            better, _, worse = pair.partition(">")
            if better not in rank or worse not in rank or rank[better] >= rank[worse]:
                raise ValueError(f"'{pair}' must be 'better>worse' with labels of the ordering")
        return self


class Fragment(Rule):
    """Wordings with the propositions that they make true."""

    makes: tuple[PropositionName, ...]
    texts: tuple[str, ...] = Field(min_length=1)


class Recipe(Rule):
    """Slots joined in order, then ``faults`` (from, to) wordings of the fault groups."""

    slots: tuple[Slot, ...] = Field(min_length=1)
    faults: tuple[int, int] = (0, 0)


class Completions(Rule):
    """What completions are composed of."""

    fragments: dict[Name, Fragment]
    recipes: dict[ResponseType, dict[Name, tuple[Recipe, ...]]]
    faults: dict[ResponseType, tuple[FragmentName, ...]]


Classes = Annotated[dict[ClassName, Conjunction], _complete(CLASS_NAMES)]


class Derived(RootModel[dict[str, Conjunction]]):
    """Derived propositions by name."""


class CompletionClasses(
    RootModel[Annotated[dict[ResponseType, Classes], _complete(RESPONSE_TYPES)]]
):
    """The completion classes of each response type."""


class ContentPolicy(RootModel[Annotated[dict[str, dict[str, ResponseType]], Field(min_length=1)]]):
    """The response type of each category and kind of prompts."""


class Reward(RootModel[Annotated[dict[ResponseType, RewardRule], _complete(RESPONSE_TYPES)]]):
    """The reward of each response type."""


# The files of one mapping each, by name.
SECTIONS: dict[str, type[BaseModel]] = {
    "derived": Derived,
    "completion_classes": CompletionClasses,
    "content_policy": ContentPolicy,
    "reward": Reward,
    "completions": Completions,
}
