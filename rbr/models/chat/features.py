"""Parts of a request that a server may refuse, and what is sent in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ChatMessages = Sequence[Mapping[str, str]]
# Log-probabilities that are asked for; some servers allow fewer.
TOP = (20, 5)


@dataclass(frozen=True)
class Feature:
    """A part of a request that a server may refuse.

    Attributes:
        choices: parameters from the best ones to those that any server takes.
        words: what a refusal names it by.
    """

    name: str
    choices: tuple[Mapping[str, Any], ...]
    words: tuple[str, ...] = ()

    def named(self, reason: str) -> bool:
        """Whether a refusal is about it."""
        return any(word in reason.lower() for word in (self.name, *self.words))


def json_schema(schema: Mapping[str, Any], name: str = "verdict") -> Feature:
    """Ask for JSON of a schema: strictly, or any JSON, or not at all where a server takes neither."""
    strict = {"name": name, "schema": schema, "strict": True}
    return Feature(
        "response_format",
        (
            {"response_format": {"type": "json_schema", "json_schema": strict}},
            {"response_format": {"type": "json_object"}},
            {},
        ),
        ("json", "guided", "structured", "grammar", "schema"),
    )


def token_logprobs() -> Feature:
    """Ask for the log-probabilities of tokens and of the likeliest others."""
    asked = ({"logprobs": True, "top_logprobs": top} for top in TOP)
    return Feature("logprobs", (*asked, {"logprobs": True}, {}), ("logprob",))


def ordinary(
    messages: ChatMessages, max_tokens: int | None, temperature: float | None, seed: int | None
) -> list[Feature]:
    """Parameters that some servers take under another name, or not at all."""
    turns = [dict(message) for message in messages]
    found = [
        Feature(
            "messages",
            ({"messages": turns}, {"messages": _without_system(turns)}),
            ("system role",),
        )
    ]
    if max_tokens is not None:
        choices = ({"max_tokens": max_tokens}, {"max_completion_tokens": max_tokens})
        found.append(Feature("max_tokens", choices, ("max_completion_tokens",)))
    if temperature is not None:
        found.append(Feature("temperature", ({"temperature": temperature}, {})))
    if seed is not None:
        found.append(Feature("seed", ({"seed": seed}, {})))
    return found


def _without_system(turns: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The system turn at the beginning of the first user turn, for templates that know no such role."""
    if len(turns) < 2 or turns[0]["role"] != "system":
        return list(turns)
    first, second, *rest = turns
    return [{**second, "content": f"{first['content']}\n\n{second['content']}"}, *rest]


def without_one(levels: Mapping[str, int], features: Sequence[Feature]) -> list[dict[str, int]]:
    """What to try where a refusal names nothing: each feature's lower choices alone, then all lowest."""
    lowest = {f.name: len(f.choices) - 1 for f in features}
    single = [
        {**levels, f.name: level}
        for f in features
        for level in range(levels[f.name] + 1, len(f.choices))
    ]
    return [*single, {**levels, **lowest}] if single else []
