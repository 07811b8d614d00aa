"""Prompts and completions as chat clients write them, read as conversations and answers.

The one reader of the reward, the scorers and the service. What has no text to grade (a tool call, a
picture, None) is an error: a grade of the wrong text looks like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rbr.data.rows import Message
from rbr.errors import DataError

# Type of a content part -> its key that holds text the user sees.
TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
REASONING_PARTS = ("reasoning", "reasoning_text", "summary_text", "thinking", "redacted_thinking")
TOOL_PARTS = ("tool_use", "tool_call", "function_call")
# What reasoning models write before their answer; unclosed where they were cut.
REASONING = re.compile(r"(?:\s*<think>.*?(?:</think>|\Z))+\s*", re.DOTALL)
# What is no content though it has letters: end tokens and roles in angle brackets or bars.
SPECIAL_TOKENS = re.compile(
    r"</?s>|<[|｜][^<>]{0,40}[|｜]>|<(?:bos|eos|pad|unk|end_of_turn|start_of_turn)>"
)
# "developer" is OpenAI's newer name of "system".
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def read_batch(
    prompts: Sequence[Any], completions: Sequence[Any]
) -> tuple[list[tuple[Message, ...]], list[str]]:
    """Prompts and completions in any form that ``read_conversation`` and ``read_completion`` know.

    Raises:
        DataError: naming the first row that has none.
    """
    if len(prompts) != len(completions):
        raise DataError(f"{len(prompts)} prompts and {len(completions)} completions: give one each")
    conversations, texts = [], []
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        try:
            conversations.append(read_conversation(prompt))
            texts.append(read_completion(completion))
        except DataError as error:
            raise DataError(f"row {row}: {error.message}") from error
    return conversations, texts


def read_conversation(prompt: Any, what: str = "prompt") -> tuple[Message, ...]:
    """Text as one user turn, or a list of messages that ends with the user's.

    Args:
        what: the name of the value in errors.

    Raises:
        DataError: if it is neither, or a message has no text.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise DataError(f"{what}: the prompt is empty")
        return (Message(role="user", content=prompt),)
    conversation = []
    for i, turn in enumerate(_messages(prompt, what)):
        place = f"{what}.{i}"
        if turn["role"] not in ROLES:
            raise DataError(
                f"{place}: the role is {_shown(turn['role'])}, not one of {_ROLE_NAMES}"
            )
        text = read_content(turn, place)
        if turn["role"] == "assistant":
            text = without_reasoning(text)
        conversation.append(Message.model_validate({"role": ROLES[turn["role"]], "content": text}))
    if conversation[-1].role != "user":
        raise DataError(
            f"{what}: the conversation ends with the turn '{conversation[-1].role}', not with the"
            " user's"
        )
    return tuple(conversation)


def has_content(completion: str) -> bool:
    """Whether there is an answer: a letter or digit outside reasoning and special tokens."""
    text = SPECIAL_TOKENS.sub(" ", without_reasoning(completion))
    return any(character.isalnum() for character in text)


def read_completion(completion: Any, what: str = "completion") -> str:
    """The answer, which may be empty: text, the assistant's message, or messages that end with it.

    Of messages, what the assistant says after the last user turn counts, a line each; calls of tools
    and their results do not.

    Raises:
        DataError: if it is none of these, or if the last message has no text or calls a tool.
    """
    if isinstance(completion, str):
        return without_reasoning(completion)
    turns = _messages(completion, what)
    if turns[-1]["role"] != "assistant":
        role = _shown(turns[-1]["role"])
        raise DataError(f"{what}: the last message is of {role}, not the assistant's")
    texts = [read_content(turns[-1], what)]
    for turn in reversed(turns[:-1]):
        if turn["role"] in ROLES and turn["role"] != "assistant":
            break
        # A message before the last may call a tool and say nothing.
        if turn["role"] == "assistant" and (turn.get("content") or turn.get("refusal")):
            texts.append(read_content(turn, what, may_call=True))
    texts = [without_reasoning(text) for text in reversed(texts)]
    return "\n".join(text for text in texts if text or len(texts) == 1)


def without_reasoning(text: str, prompt: str = "") -> str:
    """What the assistant says after the reasoning that its message begins with, if it does.

    Marks elsewhere stay, to be graded: they would hide a part of the answer.

    Args:
        prompt: the text before it; some chat templates begin the reasoning themselves.
    """
    opened = "<think>" if prompt.rstrip().endswith("<think>") else ""
    found = REASONING.match(opened + text)
    return (opened + text)[found.end() :] if found else text


def read_content(message: Any, what: str = "content", may_call: bool = False) -> str:
    """The text of a message: its content, text or text parts, or the refusal in its place.

    Args:
        message: a mapping with ``content``; text or a list of parts stands for the content itself.
        may_call: whether a call of a tool beside the text is left out rather than refused.

    Raises:
        DataError: if there is no text, or something besides text.
    """
    if not isinstance(message, Mapping):
        message = {"content": message}
    calls = message.get("tool_calls") or message.get("function_call")
    content = _plain(message.get("content"))
    if isinstance(message.get("refusal"), str) and not content:
        content = message["refusal"]
    if calls and not may_call:
        raise DataError(f"{what}: a tool call is no answer: there is no text to grade")
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple) or not content:
        found = "an empty list" if content == [] else f"of type {type(content).__name__}"
        raise DataError(f"{what}: the content is {found}: there is no text to grade")
    texts = []
    for i, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get(TEXT_PARTS[kind]) if kind in TEXT_PARTS else None
        if isinstance(text, str):
            texts.append(text)
        elif kind not in REASONING_PARTS and not (may_call and kind in TOOL_PARTS):
            found = _shown(kind) if isinstance(part, Mapping) else type(part).__name__
            raise DataError(f"{what}.{i}: a part of type {found} is no text")
    if not texts and not may_call:
        raise DataError(f"{what}: the content holds reasoning alone: there is no text to grade")
    return "".join(texts)


_ROLE_NAMES = ", ".join(ROLES)


def _messages(value: Any, what: str) -> list[Mapping[str, Any]]:
    """Messages, at least one, each a mapping with a role; a single one counts as a list."""
    value = _plain(value)
    turns = [value] if isinstance(value, Mapping) else value
    if not isinstance(turns, list | tuple) or not turns:
        found = "an empty list" if turns == [] else f"of type {type(value).__name__}"
        raise DataError(f"{what} is {found}: give text or messages")
    turns = [_plain(turn) for turn in turns]
    for i, turn in enumerate(turns):
        if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
            raise DataError(f"{what}.{i}: a message is a mapping with role and content")
    return turns


def _plain(value: Any) -> Any:
    """Clients' objects as mappings and arrays as lists; all else as it is."""
    for method in ("model_dump", "tolist"):
        if hasattr(value, method) and not isinstance(value, str):
            return getattr(value, method)()
    return value


def _shown(name: Any) -> str:
    return f"'{str(name)[:20]}'"
