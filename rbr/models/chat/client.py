"""A client of chat models behind OpenAI-compatible servers, ``vllm serve`` among them.

What differs between servers is dealt with here: a parameter that one refuses is left out for it from then
on, and reasoning is taken off the answer, wherever the server puts it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from rbr.models.chat.answer import ChatAnswer, read_answer
from rbr.models.chat.features import ChatMessages, Feature, ordinary, without_one
from rbr.models.chat.usage import Prices, Usage
from rbr.models.servers import Refused, Server, Servers, open_servers, send

logger = logging.getLogger(__name__)

# Statuses of a request that the server does not take as it stands.
UNSUPPORTED = (400, 415, 422, 501)
# OpenRouter: 404 "No endpoints found that can handle the requested parameters".
NO_ENDPOINT = (404, "no endpoints found that")
# How a prompt is told to be too long: nothing that can be left out makes it shorter.
TOO_LONG = re.compile(
    r"context[ _](?:length|size|window)|maximum context|exceed_context|prompt (?:is )?too long|input is too long"
    r"|(?:prompt|input)[^.]{0,60}(?:too (?:long|large)|exceeds the (?:maximum|limit))|max_new_tokens` must be <="
    r"|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE,
)
# OpenAI: 403 "You are not allowed to request logprobs from this model".
FORBIDDEN = 403
# How a refusal of the prompt's contents is told, in place of an answer.
FILTERED = ("content_filter", "content filter", "content management policy", "content policy")


@dataclass
class ChatClient:
    """Chat completions of several servers of one model, bounded and retried.

    ``async with client.session() as chat: await chat.complete(messages)``; it may be opened again and
    again, and remembers between sessions what servers refuse.

    Args:
        addresses: base URLs, ending in ``/v1``.
        model: its name on the servers.
        key: the bearer token; most self-hosted servers need none.
        concurrency: requests under way at once, a server.
        timeout: seconds that a request may take.
        retries: how often a request is repeated, there or on another server.
        request: further parameters of every request (``chat_template_kwargs``, ``reasoning_effort``).
        prices: see ``Usage.cost``.

    Attributes:
        usage: what all its requests took.
    """

    addresses: tuple[str, ...]
    model: str
    key: str | None = field(default=None, repr=False)
    concurrency: int = 32
    timeout: float = 60.0
    retries: int = 4
    request: Mapping[str, Any] = field(default_factory=dict)
    prices: Prices | None = None
    usage: Usage = field(default_factory=Usage)
    _levels: dict[str, dict[str, int]] = field(default_factory=dict)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[ChatSession]:
        """Connections of the event loop that runs."""
        async with open_servers(
            self.addresses, self.key, self.concurrency, self.timeout
        ) as servers:
            try:
                yield ChatSession(self, servers)
            finally:
                self.usage.retries += servers.retried

    def refuses(self, address: str) -> dict[str, int]:
        """The choice of each feature that is known to be refused by a server: feature -> next choice."""
        return self._levels.setdefault(address, {})


@dataclass(frozen=True)
class ChatSession:
    """See ``ChatClient.session``."""

    client: ChatClient
    servers: Servers

    async def complete(
        self,
        messages: ChatMessages,
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        features: Sequence[Feature] = (),
        home: Server | None = None,
        what: str = "answer",
        whole: Callable[[str], bool] = lambda text: False,
        **params: Any,
    ) -> ChatAnswer:
        """One answer.

        Args:
            features: parts of the request that are left out for servers that refuse them.
            home: the server to ask first: that whose cache has the beginning of the messages.
            what: names what is asked for, in errors.
            whole: see ``separate``.
            params: further parameters, as they are.

        Raises:
            ServerError: naming server and ``what``, once all tries have failed.
        """
        every = [*features, *ordinary(messages, max_tokens, temperature, seed)]
        fixed = {"model": self.client.model, **params, **self.client.request}
        # What the settings say stands.
        every = [f for f in every if not any(fixed.keys() & choice.keys() for choice in f.choices)]

        async def send_one(server: Server) -> ChatAnswer:
            try:
                return read_answer(await self._send(server, every, fixed), whole)
            except Refused as refused:
                if not _filtered(refused):
                    raise
                return ChatAnswer("", "", "", (), "content_filter", Usage(), str(refused))

        home = home or self.servers.choose()
        home.load += 1
        try:
            answer = await self.servers.ask(home, send_one, self.client.retries, what)
        finally:
            home.load -= 1
        self.client.usage.add(answer.usage)
        return answer

    async def _send(
        self, server: Server, features: Sequence[Feature], fixed: Mapping[str, Any]
    ) -> bytes:
        """Send with the best choice of each feature that the server takes; remember what it refuses."""
        assert server.client is not None
        create = server.client.chat.completions.with_raw_response.create
        known = self.client.refuses(server.address)
        levels = {f.name: min(known.get(f.name, 0), len(f.choices) - 1) for f in features}
        first: Refused | None = None
        unnamed: Refused | None = None
        reasons: dict[str, Refused] = {}
        alone: list[dict[str, int]] | None = None
        while True:
            body = dict(fixed)
            for feature in features:
                body |= feature.choices[levels[feature.name]]
            try:
                content = await send(
                    create,
                    self.client.timeout,
                    model=body.pop("model"),
                    messages=body.pop("messages", []),
                    extra_body=body,
                )
            except Refused as refused:
                first = first or refused
                lower = [f for f in features if levels[f.name] + 1 < len(f.choices)]
                told = _blamed(refused, lower)
                if _filtered(refused) or not _negotiable(refused, told):
                    raise
                if told:
                    reasons[told[0].name] = refused
                    levels, alone = levels | {told[0].name: levels[told[0].name] + 1}, None
                    continue
                if alone is None:
                    unnamed, alone = refused, without_one(levels, lower)
                if not alone:
                    raise first from refused
                levels = alone.pop(0)
                continue
            for feature in features:
                name, level = feature.name, levels[feature.name]
                if level > known.get(name, 0):
                    known[name] = level
                    logger.warning(
                        "%s refuses %s: it is asked with %s from now on (%s)",
                        server.address,
                        name,
                        list(feature.choices[level]) or "nothing in its place",
                        reasons.get(name, unnamed),
                    )
            return content


def _blamed(refused: Refused, features: Sequence[Feature]) -> list[Feature]:
    """The features that a server names as what it does not take.

    One's own name goes before words that errors of others have too ("Invalid JSON payload ... seed").
    """
    text = str(refused)
    own = [feature for feature in features if feature.name in text.lower()]
    return own or [feature for feature in features if feature.named(text)]


def _negotiable(refused: Refused, blamed: Sequence[Feature]) -> bool:
    """Whether the request may be taken without some of its features."""
    text = str(refused)
    if TOO_LONG.search(text):
        return False
    status, words = NO_ENDPOINT
    return (
        refused.status in UNSUPPORTED
        or (refused.status == FORBIDDEN and bool(blamed))
        or (refused.status == status and words in text.lower())
    )


def _filtered(refused: Refused) -> bool:
    """Whether a server's filter took offence at the contents."""
    return any(words in str(refused).lower() for words in FILTERED)
