"""What MLflow hands a scorer, read as a conversation, a completion and a response type.

Anything that could be read in two ways is an error: a grade of the wrong text looks like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rbr.data.rows import Message
from rbr.errors import DataError

if TYPE_CHECKING:
    from mlflow.entities import Trace

INPUT_KEYS = ("messages", "prompt", "question", "query")
OUTPUT_KEYS = ("choices", "messages", "content")
# "developer" is OpenAI's newer name of "system".
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
TEXT_PARTS = ("text", "input_text", "output_text")


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
    found = read_messages("inputs", value)
    if found[-1].role != "user":
        raise DataError(
            f"inputs: the conversation ends with the turn '{found[-1].role}', not with the user's"
        )
    return found


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
            choices = value["choices"]
            if not isinstance(choices, Sequence) or len(choices) != 1:
                raise DataError("outputs: there must be exactly one choice")
            choice = plain(choices[0])
            if not isinstance(choice, Mapping) or "message" not in choice:
                raise DataError("outputs: the choice has no 'message'")
            value = [choice["message"]]
        elif key == "messages":
            value = value["messages"]
        else:
            value = [{"role": "assistant", **value}]
    found = read_messages("outputs", value, last_only=True)
    if found[-1].role != "assistant":
        raise DataError(f"outputs: the last message is of '{found[-1].role}', not the assistant's")
    return found[-1].content


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
    # A message without content still says what it is: it may hold a refusal.
    if not found and "refusal" in value and "content" in keys:
        return "content"
    if len(found) != 1:
        has = ", ".join(map(str, value)) or "nothing"
        raise DataError(f"{what} must have exactly one of {', '.join(keys)}; they have: {has}")
    return found[0]


def read_messages(what: str, value: Any, last_only: bool = False) -> tuple[Message, ...]:
    """Messages as ours.

    Args:
        what: where they are from, for errors.
        last_only: read the last one alone (those before it may be tool calls).

    Raises:
        DataError: if there is none, or one is not a role with text.
    """
    if missing(value):
        raise DataError(f"no {what}: give text or messages")
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        raise DataError(f"{what} are a {type(value).__name__}: give text or messages")
    if not value:
        raise DataError(f"{what}: there is no message")
    first = len(value) - 1 if last_only else 0
    return tuple(_message(f"{what}, message {i + 1}", value[i]) for i in range(first, len(value)))


def _message(where: str, value: Any) -> Message:
    message = plain(value)
    if not isinstance(message, Mapping) or "role" not in message:
        raise DataError(f"{where} is no mapping with a role and a content")
    role = message["role"]
    if not isinstance(role, str) or role not in ROLES:
        raise DataError(f"{where} has the role {role!r}; those that can be graded: {list(ROLES)}")
    content = message.get("content")
    # OpenAI puts a refusal in a field of its own and leaves the content empty.
    if content is None and isinstance(message.get("refusal"), str):
        content = message["refusal"]
    return Message.model_validate({"role": ROLES[role], "content": _text(where, content)})


def _text(where: str, content: Any) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        raise DataError(f"{where} has no text (a tool call?)")
    if not isinstance(content, Sequence) or not content:
        raise DataError(f"{where} has a {type(content).__name__} as content, not text")
    parts = [plain(part) for part in content]
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        if kind not in TEXT_PARTS or not isinstance(part.get("text"), str):
            raise DataError(f"{where} has a part of type {kind!r}: only text can be graded")
    return "".join(part["text"] for part in parts)
