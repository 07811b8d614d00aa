"""The row formats of ``data/source`` and of the pipeline's own JSONL files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from rbr.rules.models import Language, PolicyName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_\-]*$")]
Split = Literal["train", "validation", "eval"]
# What `rbr data stats` calls prompts without a form.
FORMLESS = "none"


def _form(name: str) -> str:
    if name == FORMLESS:
        raise ValueError(f"'{FORMLESS}' is what reports call prompts without one: leave form out")
    return name


# In which way a prompt that is to be complied with looks like an unsafe one. Forms are counted and no more:
# a policy has those that it needs.
Form = Annotated[PolicyName, AfterValidator(_form)]
# Those of the paper's policy (kinds of our own wording, after those that over-refusal benchmarks tell apart).
FORMS = (
    "homonym",
    "figure_of_speech",
    "safe_target",
    "safe_context",
    "definition",
    "history",
    "real_privacy",
    "fictional_privacy",
    "nonsense_discrimination",
)


class Row(BaseModel):
    """Base of all rows: unknown fields are errors, rows do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


class Message(Row):
    """One turn, in the chat format of Transformers' templates."""

    role: Literal["system", "user", "assistant"]
    content: str


Conversation = Sequence[Message]


def _ends_with_user(conversation: tuple[Message, ...]) -> None:
    if conversation and not conversation[-1].content.strip():
        raise ValueError("the last turn of the conversation has no text: write what is asked")
    if len(conversation) == 1 and conversation[0].role == "user":
        return  # most are
    turns = [m.role for m in conversation if m.role != "system"]
    if not turns or turns[-1] != "user":
        raise ValueError("conversation must end with a user turn")
    if any(a == b for a, b in itertools.pairwise(turns)):
        raise ValueError("user and assistant turns must alternate")


class Prompt(Row):
    """A safety prompt. ``family`` groups prompts that share a word or a scenario; splits go by it.

    ``form`` says how a prompt to be complied with looks like an unsafe one (None: it does not). ``topic``
    completes "help with ..."; ``answer`` (such prompts only) is a complete short answer and ``partial`` one
    that leaves out part of what was asked. ``language`` chooses among the translations of the wordings
    that completions are composed of (None: those without).
    """

    id: Slug
    family: Slug
    category: PolicyName
    kind: PolicyName
    form: Form | None = None
    language: Language | None = None
    conversation: tuple[Message, ...]
    topic: Text
    answer: Text | None = None
    partial: Text | None = None

    @model_validator(mode="after")
    def _check(self) -> Prompt:
        _ends_with_user(self.conversation)
        if (self.answer is None) != (self.partial is None):
            raise ValueError("answer and partial come together or not at all")
        if self.answer and self.answer == self.partial:
            raise ValueError("answer and partial are the same: leave something out of partial")
        return self


class Labelled(Row):
    """A completion with its proposition labels: ``true`` names those that hold, all others do not."""

    id: Slug
    response_type: str
    conversation: tuple[Message, ...]
    completion: str
    true: tuple[str, ...]

    @model_validator(mode="after")
    def _check(self) -> Labelled:
        _ends_with_user(self.conversation)
        if len(set(self.true)) != len(self.true):
            raise ValueError("true names a proposition twice")
        return self


class Sentence(Row):
    """A sentence to plant in gold answers: it makes ``true`` hold, and leaves ``unknown`` unlabelled.

    One without ``true`` looks like a proposition's and is not. It is planted in answers of
    ``response_types`` only, or of all where none is named. Of the others it makes ``elsewhere`` hold, and is
    planted there too, where that is given: a referral is more than a plain refusal needs, and no more than
    an answer to distress needs.
    """

    id: Slug
    text: Text
    true: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    response_types: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] | None = None

    def makes(self, response_type: str) -> tuple[str, ...] | None:
        """What it makes true in an answer of that type; None if it is not to be planted there."""
        own = not self.response_types or response_type in self.response_types
        return self.true if own else self.elsewhere


class Preference(Row):
    """A preference pair. ``source`` says who preferred; ``simulated`` marks simulated annotators."""

    id: Slug
    family: Slug
    conversation: tuple[Message, ...]
    chosen: Text
    rejected: Text
    source: str = "written"
    simulated: bool = False

    @model_validator(mode="after")
    def _check(self) -> Preference:
        _ends_with_user(self.conversation)
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same")
        return self


class Attack(Row):
    """The frame that a prompt stands in: its form and template, and the conversation without it."""

    form: str
    template: str
    plain: tuple[Message, ...]


class Ranked(Row):
    """Answers to one prompt of which some are right, for a reward to be judged by.

    ``family`` groups rows on like prompts. ``tie`` is set in RewardBench 2's subset of prompts with several
    right answers: a ``tied`` row and the ``reference`` of its family, which has one, count together.
    """

    id: str
    family: str
    subset: str
    conversation: tuple[Message, ...]
    chosen: Annotated[tuple[Text, ...], Field(min_length=1)]
    rejected: Annotated[tuple[Text, ...], Field(min_length=1)]
    response_type: str | None = None
    tie: Literal["reference", "tied"] | None = None


class PolicyPrompt(Row):
    """A prompt of ``data/safety_prompts``: a written prompt with what the policy says of it.

    ``over_refusal``: to refuse it is over-refusal; else disallowed content in the answer is unsafe.
    ``attack``: the frame that ``conversation`` is in (None: as it was written).
    """

    id: str
    family: str
    category: str
    kind: str
    form: Form | None = None
    language: str | None = None
    response_type: str
    over_refusal: bool = False
    conversation: tuple[Message, ...]
    topic: str
    answer: str | None = None
    partial: str | None = None
    attack: Attack | None = None

    @property
    def asked(self) -> tuple[Message, ...]:
        """The conversation as it was written, without the frame of an attack."""
        return self.attack.plain if self.attack else self.conversation


class Comparison(Row):
    """One synthetic completion of a label.

    ``true`` names the propositions that it should have, ``graded`` those that hold by the grader;
    ``label_probability`` is the grader's probability of the classes that fit the label, and
    ``confirmed`` whether it reaches the floor.
    """

    id: str
    prompt_id: str
    family: str
    response_type: str
    label: str
    source: Literal["composed", "generated", "written"]
    conversation: tuple[Message, ...]
    completion: str
    true: tuple[str, ...]
    graded: tuple[str, ...]
    label_probability: float
    confirmed: bool


class Demonstration(Row):
    """An answer that supervised fine-tuning may learn, to a prompt of the policy or a helpful one.

    ``source``: ``sampled`` of the base model as it is, ``conditioned`` where it was told how to answer (and
    the conversation here is without that), ``composed`` of fragments. ``over_refusal`` as of the prompt;
    ``probability`` of the best class, by the grader, where it was asked.
    """

    prompt_id: str
    response_type: str | None = None
    over_refusal: bool
    conversation: tuple[Message, ...]
    completion: str
    source: Literal["sampled", "conditioned", "composed"]
    probability: float | None = None


class HelpfulPrompt(Row):
    """An everyday prompt for policy optimisation."""

    id: Slug
    family: Slug
    conversation: tuple[Message, ...]


class CapabilityItem(Row):
    """A question with four choices, one of them the answer."""

    id: Slug
    kind: Literal["factual", "instruction", "arithmetic", "reading"]
    question: Text
    answer: Text
    choices: tuple[Text, ...]

    @model_validator(mode="after")
    def _check(self) -> CapabilityItem:
        if len(set(self.choices)) != 4 or self.answer not in self.choices:
            raise ValueError("choices must be four different texts, one of them the answer")
        return self


class CapabilityText(Row):
    """A paragraph for the held-out language-model loss."""

    id: Slug
    text: Text


def label_matrix(true: Sequence[Sequence[str]], propositions: Sequence[str]) -> NDArray[np.float64]:
    """Labels as 0 and 1, of shape (len(true), propositions), from the names that hold."""
    # What only reads rows starts without NumPy.
    import numpy as np

    return np.array([[float(name in row) for name in propositions] for row in true])
