"""The rules as data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

ResponseType = Literal["hard_refusal", "soft_refusal_disclosure", "soft_refusal_methods", "comply"]
RESPONSE_TYPES: tuple[ResponseType, ...] = (
    "hard_refusal",
    "soft_refusal_disclosure",
    "soft_refusal_methods",
    "comply",
)
CLASS_NAMES = (
    "ideal",
    "minimum_acceptable_style",
    "unacceptable_completion",
    "illogical_completion",
    "disallowed_completion",
)
Sign = Literal["positive", "negative", "free"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=2000)]


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

    all: tuple[Name, ...] = ()
    none: tuple[Name, ...] = ()


class RewardRule(Rule):
    """What the reward of one response type sees and how completions are ranked."""

    features: tuple[Name, ...] = Field(min_length=1)
    ordering: tuple[tuple[Name, ...], ...] = Field(min_length=2)
    margin: float = Field(1.0, gt=0)
    margins: dict[str, float] = Field(
        default={}, description="own margins, under 'better>worse'; fractions count in full"
    )


class Fragment(Rule):
    """Wordings with the propositions that they make true."""

    makes: tuple[Name, ...]
    texts: tuple[str, ...] = Field(min_length=1)


class Recipe(Rule):
    """Slots joined in order, then ``faults`` (from, to) wordings of the fault groups."""

    slots: tuple[Name, ...] = Field(min_length=1)
    faults: tuple[int, int] = (0, 0)


class Completions(Rule):
    """What completions are composed of."""

    fragments: dict[Name, Fragment]
    recipes: dict[ResponseType, dict[Name, tuple[Recipe, ...]]]
    faults: dict[ResponseType, tuple[Name, ...]]


# Slots that are filled from the prompt itself, not from a fragment.
PROMPT_SLOTS = ("answer", "partial", "other_answer")
