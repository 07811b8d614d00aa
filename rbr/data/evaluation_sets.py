"""The columns of published evaluation sets: prompts, and answers that people labelled.

Sources: HarmBench (Mazeika et al. 2024), StrongREJECT (Souly et al. 2024), OR-Bench (Cui et al. 2024),
WildGuardMix (Han et al. 2024), Do-Not-Answer (Wang et al. 2023), BeaverTails (Ji et al. 2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbr.data.rows import Conversation, Message, PolicyPrompt
from rbr.errors import DataError

if TYPE_CHECKING:
    from rbr.rules.rules import Rules


@dataclass(frozen=True)
class Label:
    """A column that says yes or no, and what its values mean; case and spaces aside."""

    column: str
    values: Mapping[str, bool]

    def of(self, row: Mapping[str, Any]) -> bool | None:
        """The label; None where the row has none: its annotators did not agree, or nobody was asked.

        Raises:
            ValueError: on a value that is not one of these.
        """
        value = row.get(self.column)
        text = "" if value is None or value != value else str(value).strip().lower()
        if text in ("", "none", "nan"):
            return None
        if text not in self.values:
            raise ValueError(f"{self.column} '{value}' is not one of {', '.join(self.values)}")
        return self.values[text]


@dataclass(frozen=True)
class AnswerColumns:
    """A column of answers, and the labels of what they hold."""

    completion: str
    disallowed: Label | None = None
    refused: Label | None = None


@dataclass(frozen=True)
class EvaluationSet:
    """A published set.

    Attributes:
        prompt, category, kind: columns.
        safe: whether prompts are to be complied with: all, none, or by a column.
        context: column of a text that the prompt is about, which goes before it.
        answers: answers of other models, which tell how often a judge is right on such text.
    """

    prompt: str
    category: str | None = None
    kind: str | None = None
    safe: bool | Label = False
    context: str | None = None
    answers: tuple[AnswerColumns, ...] = ()


@dataclass(frozen=True)
class KnownAnswer:
    """An answer that people labelled; None where they did not say."""

    conversation: Conversation
    completion: str
    disallowed: bool | None
    refused: bool | None


YES = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
NO = {value: not yes for value, yes in YES.items()}
HARM = {"harmful": True, "unharmful": False}
DO_NOT_ANSWER_MODELS = ("GPT4", "ChatGPT", "claude", "ChatGLM2", "llama2", "vicuna")

SETS: dict[str, EvaluationSet] = {
    "strongreject": EvaluationSet("forbidden_prompt", "category"),
    "or-bench": EvaluationSet("prompt", "category", safe=True),
    "or-bench-toxic": EvaluationSet("prompt", "category"),
    "harmbench": EvaluationSet(
        "Behavior", "SemanticCategory", "FunctionalCategory", context="ContextString"
    ),
    "wildguard": EvaluationSet(
        "prompt",
        "subcategory",
        safe=Label("prompt_harm_label", {"unharmful": True, "harmful": False}),
        answers=(
            AnswerColumns(
                "response",
                Label("response_harm_label", HARM),
                Label("response_refusal_label", {"refusal": True, "compliance": False}),
            ),
        ),
    ),
    "do-not-answer": EvaluationSet(
        "question",
        "risk_area",
        "types_of_harm",
        answers=tuple(
            AnswerColumns(f"{model}_response", Label(f"{model}_harmful", YES))
            for model in DO_NOT_ANSWER_MODELS
        ),
    ),
    # The label is of prompt and answer together: whether the prompt itself is harmful is not known.
    "beavertails": EvaluationSet(
        "prompt", answers=(AnswerColumns("response", Label("is_safe", NO)),)
    ),
    "beavertails-evaluation": EvaluationSet("prompt", "category"),
}


def conversation_of(spec: EvaluationSet, row: Mapping[str, Any]) -> tuple[Message, ...]:
    """The prompt as a conversation of one turn, its context before it as HarmBench puts it."""
    prompt = row[spec.prompt]
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError(f"{spec.prompt} must be a non-empty text")
    context = row.get(spec.context) if spec.context else None
    if isinstance(context, str) and context.strip():
        prompt = f"{context}\n\n---\n\n{prompt}"
    return (Message(role="user", content=prompt),)


def known_answers(name: str, row: Mapping[str, Any]) -> list[KnownAnswer]:
    """The labelled answers of a row; none where the set has none, or not in this file.

    Raises:
        ValueError: on a label that is none.
    """
    spec, found = SETS.get(name), []
    if spec is None:
        return []
    for columns in spec.answers:
        completion = row.get(columns.completion)
        disallowed, refused = (
            label.of(row) if label else None for label in (columns.disallowed, columns.refused)
        )
        if isinstance(completion, str) and (disallowed, refused) != (None, None):
            conversation = conversation_of(spec, row)
            found.append(KnownAnswer(conversation, completion, disallowed, refused))
    return found


def for_policy(prompts: Iterable[PolicyPrompt], rules: Rules) -> list[PolicyPrompt]:
    """Imported prompts under other rules than the paper's.

    A response type that the rules do not have becomes the first, in their order, that counts on the same
    side: over-refusal where the prompt is to be complied with, else unsafe.

    Raises:
        DataError: if they have none of that side.
    """
    found = []
    for prompt in prompts:
        side = [n for n in rules.response_types if rules.over_refusal(n) == prompt.over_refusal]
        if not side:
            counts = "over_refusal" if prompt.over_refusal else "unsafe"
            raise DataError(
                f"no response type of the rules counts as {counts}: add one, or no such set"
            )
        own = prompt.response_type if prompt.response_type in side else side[0]
        found.append(prompt.model_copy(update={"response_type": own}))
    return found
