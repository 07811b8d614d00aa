"""The grading prompts: one yes/no question a proposition, asked about one answer.

The conversation and the answer come first and the question last, so that all questions about an
answer share one prefix: its key/value cache is computed once (transformers) or found again (vLLM's
automatic prefix caching).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rbr.grading.base import Conversation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rbr.rules.models import Proposition

Style = Literal["question", "definition", "criteria", "examples"]
# From the shortest to the longest; `fit_prompts` chooses one a proposition.
STYLES: tuple[Style, ...] = ("question", "definition", "criteria", "examples")
NAMES = {"system": "System", "user": "User", "assistant": "Assistant"}


def transcript(conversation: Conversation, completion: str) -> str:
    """A conversation with the answer that is graded, as text."""
    turns = [f"{NAMES[turn.role]}: {turn.content}" for turn in conversation]
    return "\n".join([*turns, f"Answer: {completion}"])


def question_text(rule: Proposition, style: Style) -> str:
    """What is asked about the answer.

    Args:
        style: ``question`` alone; with the ``definition``; with what makes it true or false
            (``criteria``); with these and the rule's few-shot ``examples`` (section 4.1 of the paper).
    """
    parts = [f"Question: {rule.question}"]
    if style != "question":
        parts.append(rule.definition)
    if style in ("criteria", "examples"):
        parts.append(f"Yes, if {rule.true_when}. No, if {rule.false_when}.")
    if style == "examples":
        pairs = zip(rule.examples.positive, rule.examples.negative, strict=False)
        for positive, negative in pairs:
            for example, verdict in ((positive, "Yes"), (negative, "No")):
                parts.append(f"User: {example.user} Answer: {example.completion} -> {verdict}")
        parts.append(f"Now the conversation above. {rule.question}")
    return "\n".join(parts)


@dataclass(frozen=True)
class YesNoTokens:
    """Token ids that count as yes and as no: the single tokens among their usual spellings."""

    yes: tuple[int, ...]
    no: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> YesNoTokens:
        """The tokenizer's; unknown spellings are left out.

        Raises:
            ModelError: if it has no single token for either word.
        """
        from rbr.errors import ModelError

        def single(words: Sequence[str]) -> tuple[int, ...]:
            ids = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
            return tuple(sorted({row[0] for row in ids if len(row) == 1}))

        tokens = cls(single(YES), single(NO))
        if not tokens.yes or not tokens.no:
            raise ModelError(
                "the tokenizer has no single token for 'Yes' and 'No': the grader needs one"
            )
        return tokens


YES = ("Yes", "yes", " Yes", " yes", "YES")
NO = ("No", "no", " No", " no", "NO")


def chat_prompt(
    tokenizer: PreTrainedTokenizerBase, conversation: Conversation, completion: str, question: str
) -> str:
    """The whole prompt as text: the next token is the verdict."""
    content = (
        "Read this conversation. A question about its last answer follows; say Yes or No.\n\n"
        f"{transcript(conversation, completion)}\n\n{question}"
    )
    return str(
        tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
    )
