"""What MLflow passes to a scorer, read as a conversation, a completion and a response type.

Anything that could be read in two ways is an error: a grade of the wrong text looks like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rbr.data import turns
from rbr.data.rows import Message
from rbr.errors import DataError

if TYPE_CHECKING:
    from mlflow.entities import Trace

INPUT_KEYS = ("messages", "prompt", "question", "query")
OUTPUT_KEYS = ("choices", "messages", "content")


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
    value = present("inputs", inputs)
    if isinstance(value, Mapping):
        value = value[only_key("inputs", value, INPUT_KEYS)]
    return turns.read_conversation(value, "inputs")


def read_completion(outputs: Any) -> str:
    """``outputs`` as the assistant's text, which may be empty.

    Args:
        outputs: text, a list of messages that ends with the assistant's, or a mapping: a chat
            completion with one choice, a message, or ``{"messages": [...]}``.

    Raises:
        DataError: if they are not that.
    """
    value = present("outputs", outputs)
    if isinstance(value, Mapping):
        key = only_key("outputs", value, OUTPUT_KEYS)
        if key == "choices":
            choices = value["choices"]
            if not isinstance(choices, list) or len(choices) != 1:
                raise DataError("outputs.choices: give a chat completion with one choice")
            value = choices[0].get("message") if isinstance(choices[0], Mapping) else None
            if not isinstance(value, Mapping):
                raise DataError("outputs.choices.0: the choice has no message")
        value = value["messages"] if key == "messages" else {"role": "assistant", **value}
    return turns.read_completion(value, "outputs")


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


def present(what: str, value: Any) -> Any:
    """A value that is not missing; clients' response objects (pydantic models) as mappings.

    Raises:
        DataError: if it is missing.
    """
    if missing(value):
        raise DataError(f"no {what}: give text or messages")
    return value.model_dump() if hasattr(value, "model_dump") else value


def only_key(what: str, value: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The one of ``keys`` that ``value`` has.

    Raises:
        DataError: if it has none or several.
    """
    found = [key for key in keys if not missing(value.get(key))]
    # A message without content is one nevertheless: it may hold a refusal.
    if not found and "content" in keys and ("refusal" in value or "content" in value):
        return "content"
    if len(found) != 1:
        has = ", ".join(map(str, value)) or "nothing"
        raise DataError(f"{what} must have exactly one of {', '.join(keys)}; they have: {has}")
    return found[0]
