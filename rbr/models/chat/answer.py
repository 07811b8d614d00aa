"""An answer in OpenAI's chat protocol, as servers write it, read into its parts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from rbr.errors import first_problem
from rbr.models.chat.reasoning import separate
from rbr.models.chat.usage import Usage, read_usage
from rbr.models.servers import Passing

# What some servers send for a token that they have no log-probability of.
NOT_SENT = -9999.0
# Other servers' names of how an answer ended; what stands behind a colon is left out.
_ENDS = {
    "length": (
        "max_tokens", "max_output_tokens", "max_completion_tokens", "model_length", "max_length", "incomplete",
        "model_context_window_exceeded",
    ),
    "content_filter": (
        "content_filtered", "safety", "sensitive", "recitation", "prohibited_content", "blocklist", "spii",
        "guardrail_intervened", "error_toxic", "refusal", "image_safety",
    ),
    "error": ("abort", "aborted", "insufficient_system_resource", "network_error"),
}  # fmt: skip
# Tokens that end a turn, where the server leaves them in.
_END = re.compile(
    r"(?:\s*(?:<[|｜](?:im_end|eot_id|eom_id|end|endoftext|end_of_text|eos|return|end▁of▁sentence)[|｜]>"
    r"|</s>|<(?:end_of_turn|turn\||eos)>))+\s*\Z"
)


@dataclass(frozen=True)
class TokenLogprob:
    """A token of the answer, and the likeliest ones at its place: (text, log-probability)."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class ChatAnswer:
    """An answer of a chat model.

    Attributes:
        content: what it says, without reasoning; empty where there is none.
        reasoning: what it says before, in whatever place the server puts it.
        text: the content as it was sent, with the reasoning that stands in it.
        logprobs: of the tokens of ``text``; empty where the server sends none.
        finish_reason: ``stop``, ``length``, ``content_filter`` or what the server says.
        refusal: what it says in place of the content, where it declines.
        cut: whether it was cut in its reasoning.
    """

    content: str
    reasoning: str
    text: str
    logprobs: tuple[TokenLogprob, ...]
    finish_reason: str | None
    usage: Usage
    refusal: str | None = None
    cut: bool = False


class _Top(BaseModel):
    token: str
    logprob: float | None = None


class _Token(_Top):
    top_logprobs: list[_Top] | None = None


class _LogProbs(BaseModel):
    content: list[_Token] | None = None


class _Message(BaseModel):
    content: str | list[Any] | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: str | None = None
    tool_calls: Any = None


class _Choice(BaseModel):
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: Any = None

    @model_validator(mode="after")
    def _says_something(self) -> _Choice:
        """Filters leave the message out; any other choice without one is of another protocol."""
        if self.message is None and _end(self.finish_reason) not in ("content_filter", "error"):
            raise ValueError("a choice has no message")
        return self


class _Answer(BaseModel):
    """What is read of an answer in OpenAI's chat protocol."""

    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None


def read_answer(content: bytes, whole: Callable[[str], bool]) -> ChatAnswer:
    """An answer's parts.

    Raises:
        Passing: if it is no answer of the protocol (a proxy's page, or an error sent as a success).
    """
    try:
        answer = _Answer.model_validate_json(content)
    except ValidationError as error:
        start = content[:200].decode(errors="replace")
        raise Passing(
            f"no answer of the chat protocol ({first_problem(error)}; '{start}'): see that the address"
            " is that of an OpenAI-compatible API (…/v1)"
        ) from error
    choice = answer.choices[0]
    usage = read_usage(answer.usage if isinstance(answer.usage, dict) else {})
    message, end = choice.message or _Message(), _end(choice.finish_reason)
    if end == "error":
        raise Passing(f"the server stopped with an error ({choice.finish_reason})")
    text, reasoning = _parts(message)
    if not text.strip() and end != "length":
        text, reasoning = _elsewhere(message, reasoning, whole)
    text = _END.sub("", text)
    found = separate(text, whole)
    reasoning = "\n".join(part for part in (reasoning, found.reasoning) if part)
    cut = end == "length" and not found.answer
    return ChatAnswer(
        content=found.answer,
        reasoning=reasoning,
        text=text,
        logprobs=_tokens(choice.logprobs),
        finish_reason=end,
        usage=usage,
        refusal=message.refusal,
        cut=cut,
    )


def _end(reason: str | None) -> str | None:
    """A finish reason by OpenAI's name, where it has one: ``SAFETY``, ``content_filter: X``."""
    name = (reason or "").partition(":")[0].strip().lower()
    return next((end for end, names in _ENDS.items() if name == end or name in names), reason)


def _elsewhere(message: _Message, reasoning: str, whole: Callable[[str], bool]) -> tuple[str, str]:
    """The answer that stands in another place than the content, and the reasoning; '' for none.

    A reasoning parser takes an answer without reasoning for reasoning (vLLM #19222, #50948), a gateway
    makes the schema a tool.
    """
    if whole(reasoning.strip()):
        return reasoning, ""
    calls = message.tool_calls if isinstance(message.tool_calls, list) else []
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    said = [of.get("arguments") for of in functions if isinstance(of, dict)]
    if len(said) == 1 and isinstance(said[0], str) and whole(said[0].strip()):
        return said[0], reasoning
    return "", reasoning


def _parts(message: _Message) -> tuple[str, str]:
    """The content's text and the reasoning beside it."""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in message.content if isinstance(message.content, list) else []:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            kind = str(part.get("type", "text"))
            side = thoughts if "reason" in kind or "think" in kind or "summary" in kind else texts
            side.append(_text_of(part))
    if isinstance(message.content, str):
        texts.append(message.content)
    # Some servers send the reasoning under both names.
    thoughts += dict.fromkeys(
        text for text in map(_text_of, (message.reasoning_content, message.reasoning)) if text
    )
    return "".join(texts), "\n".join(thoughts)


def _text_of(value: Any) -> str:
    """The text in a part, which may hold a list of parts again."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_text_of, value))
    if isinstance(value, dict):
        keys = ("text", "content", "thinking", "reasoning", "summary")
        return next((_text_of(value[key]) for key in keys if value.get(key)), "")
    return ""


def _tokens(sent: Any) -> tuple[TokenLogprob, ...]:
    try:
        logprobs = _LogProbs.model_validate(sent or {})
    except ValidationError:  # of another protocol: the answer stands without them
        return ()
    return tuple(
        TokenLogprob(
            token.token,
            token.logprob if token.logprob is not None else NOT_SENT,
            tuple((t.token, t.logprob) for t in token.top_logprobs or () if t.logprob is not None),
        )
        for token in logprobs.content or ()
    )
