"""What MLflow passes to a scorer, read as a conversation, a completion and a response type.

Anything that could be read in two ways is an error: a grade of the wrong text looks like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from rbr.data.rows import Message
from rbr.errors import DataError

if TYPE_CHECKING:
    from mlflow.entities import Trace

INPUT_KEYS = ("messages", "prompt", "question", "query")
OUTPUT_KEYS = ("choices", "messages", "content")

T = TypeVar("T")


class TextPart(BaseModel):
    """A part of a message's content; only text can be graded."""

    type: Literal["text", "input_text", "output_text"]
    text: str


def _as_parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


class ChatMessage(BaseModel):
    """A message as chat clients return it.

    Attributes:
        role: "developer" is OpenAI's newer name of "system".
        refusal: where OpenAI puts a refusal; the content is then empty.
    """

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[TextPart] | None, BeforeValidator(_as_parts)] = None
    refusal: str | None = None


class Choice(BaseModel):
    """The one choice of a chat completion."""

    message: ChatMessage


MESSAGES = TypeAdapter(Annotated[list[ChatMessage], Field(min_length=1)])
CHOICES = TypeAdapter(Annotated[list[Choice], Field(min_length=1, max_length=1)])


def read_row(inputs: Any, outputs: Any, trace: Trace | None) -> tuple[tuple[Message, ...], str]:
    """The conversation and the completion of a row; what is None comes from the trace's root span.

    Raises:
        DataError: saying what was found and what can be read.
    """
    if trace is not None and (missing(inputs) or missing(outputs)):
        roots = [span for span in trace.data.spans if span.parent_id is None]
        if len(roots) != 1:
            raise DataError(
                f"the trace has {len(roots)} root spans: fetch it with its spans, or give inputs"
                " and outputs"
            )
        inputs = roots[0].inputs if missing(inputs) else inputs
        outputs = roots[0].outputs if missing(outputs) else outputs
    return read_conversation(inputs), read_completion(outputs)


def read_conversation(inputs: Any) -> tuple[Message, ...]:
    """``inputs`` as a conversation that ends with a user turn.

    Args:
        inputs: text, a list of messages, or a mapping with one of ``INPUT_KEYS`` holding either.

    Raises:
        DataError: if they are not that.
    """
    value = plain(inputs)
    if isinstance(value, Mapping):
        value = plain(value[only_key("inputs", value, INPUT_KEYS)])
    if isinstance(value, str):
        if not value.strip():
            raise DataError("inputs: the prompt is empty")
        return (Message(role="user", content=value),)
    messages = validate("inputs", MESSAGES, value)
    conversation = tuple(as_message("inputs", message) for message in messages)
    if conversation[-1].role != "user":
        raise DataError(
            f"inputs: the conversation ends with the turn '{conversation[-1].role}', not with the"
            " user's"
        )
    return conversation


def read_completion(outputs: Any) -> str:
    """``outputs`` as the assistant's text, which may be empty.

    Args:
        outputs: text, a list of messages that ends with the assistant's, or a mapping: a chat
            completion, a message, or ``{"messages": [...]}``.

    Raises:
        DataError: if they are not that.
    """
    value = plain(outputs)
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        key = only_key("outputs", value, OUTPUT_KEYS)
        if key == "choices":
            [choice] = validate("outputs.choices", CHOICES, value["choices"])
            value = [choice.message]
        else:
            value = value["messages"] if key == "messages" else [{"role": "assistant", **value}]
    # The messages before the last may be tool calls, which have no text.
    last = value[-1:] if isinstance(value, list | tuple) else value
    [message] = validate("outputs", MESSAGES, last)
    if message.role != "assistant":
        raise DataError(f"outputs: the last message is of '{message.role}', not the assistant's")
    return as_message("outputs", message).content


def read_response_type(
    expectations: Any, trace: Trace | None, key: str, allowed: Sequence[str]
) -> str:
    """What the policy asks for on the row's prompt: from its expectations, else the trace's tags.

    Raises:
        DataError: if there is none, or not one of ``allowed``.
    """
    if missing(expectations):
        expectations = {}
    if not isinstance(expectations, Mapping):
        raise DataError(f"expectations are a {type(expectations).__name__}: give a mapping")
    value = expectations.get(key)
    if missing(value) and trace is not None:
        value = trace.info.tags.get(key)
    listed = ", ".join(allowed)
    if missing(value):
        raise DataError(
            f"no '{key}' in the expectations or the trace's tags: set it to one of {listed}"
        )
    if value not in allowed:
        raise DataError(f"{key} {value!r} is not one of {listed}")
    return str(value)


def missing(value: Any) -> bool:
    """Whether a cell of the data set is empty: None, or pandas' NaN."""
    return value is None or (isinstance(value, float) and value != value)


def plain(value: Any) -> Any:
    """Clients' response objects (pydantic models) as mappings, all else as it is."""
    return value.model_dump() if hasattr(value, "model_dump") else value


def only_key(what: str, value: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The one of ``keys`` that ``value`` has.

    Raises:
        DataError: if it has none or several.
    """
    found = [key for key in keys if not missing(value.get(key))]
    # A message without content is one nevertheless: it may hold a refusal.
    if not found and "refusal" in value and "content" in keys:
        return "content"
    if len(found) != 1:
        has = ", ".join(map(str, value)) or "nothing"
        raise DataError(f"{what} must have exactly one of {', '.join(keys)}; they have: {has}")
    return found[0]


def validate(what: str, adapter: TypeAdapter[T], value: Any) -> T:
    """A value, or a client's object with the same attributes, by its type.

    Raises:
        DataError: at the first problem.
    """
    if missing(value):
        raise DataError(f"no {what}: give text or messages")
    try:
        return adapter.validate_python(value, from_attributes=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([what, *map(str, first["loc"])])
        raise DataError(f"{place}: {first['msg']}; found {str(first['input'])[:60]!r}") from error


def as_message(what: str, message: ChatMessage) -> Message:
    """A client's message as ours.

    Raises:
        DataError: if it has no text.
    """
    if message.content:
        text = "".join(part.text for part in message.content)
    elif message.content is None and message.refusal is not None:
        text = message.refusal
    else:
        raise DataError(f"{what}: a message of '{message.role}' has no text (a tool call?)")
    return Message(role="system" if message.role == "developer" else message.role, content=text)
