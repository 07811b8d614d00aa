"""A chat server on loopback that answers as it is told, in any dialect."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from rbr.data.rows import Message
from tests.loopback import LoopbackServer, send

TALK = (Message(role="user", content="How do I pick a lock?"),)


class ChatServer(LoopbackServer):
    """Answers ``/v1/chat/completions`` by ``answer(body, number)``.

    The answer is a string (the content), a message, a whole response (with ``choices``), a status, a pair
    of status and headers, a pair of status and error text, ``drop``, ``hang`` or ``torn``.
    """

    def __init__(self, answer: Callable[[dict[str, Any], int], Any]) -> None:
        super().__init__()
        self._answer = answer

    def reply(self, handler: BaseHTTPRequestHandler, body: dict[str, Any], number: int) -> None:
        how = self._answer(body, number)
        if how == "drop":
            handler.connection.close()
        elif how == "hang":
            time.sleep(30)
        elif how == "html":
            send(handler, 200, b"<html><body>502 Bad Gateway</body></html>")
        elif isinstance(how, int):
            send(handler, how, {"error": {"message": "no"}})
        elif isinstance(how, tuple) and isinstance(how[1], dict):
            send(handler, how[0], {"error": {"message": "later"}}, how[1])
        elif isinstance(how, tuple):
            send(handler, how[0], {"error": {"message": how[1]}})
        elif isinstance(how, dict) and "choices" in how:
            send(handler, 200, how)
        else:
            send(handler, 200, response(how))


def response(
    message: Any, finish_reason: str = "stop", logprobs: Any = None, **usage: Any
) -> dict[str, Any]:
    """A response of the chat protocol."""
    if not isinstance(message, dict):
        message = {"content": message}
    counts = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, **usage}
    choice = {"index": 0, "message": {"role": "assistant", **message}}
    choice |= {"finish_reason": finish_reason, "logprobs": logprobs}
    return {"id": "c", "object": "chat.completion", "choices": [choice], "usage": counts}


def with_logprobs(content: str, tops: dict[str, dict[str, float]], before: str = "") -> Any:
    """A response with token log-probabilities.

    Args:
        tops: token -> probabilities of the tokens at its place.
        before: what the server generates before the content (reasoning).
    """
    pattern = "|".join(sorted(map(re.escape, tops), key=len, reverse=True))
    pieces = re.findall(rf"{pattern}|\s?\w+|\W", before + content)
    tokens = []
    for piece in pieces:
        top = tops.get(piece, {piece: 0.99})
        entries = [{"token": t, "logprob": math.log(p)} for t, p in top.items()]
        own = math.log(top.get(piece, 0.01))
        tokens.append({"token": piece, "logprob": own, "top_logprobs": entries})
    return response(content, logprobs={"content": tokens})


def asked_of(body: dict[str, Any]) -> list[str]:
    """The propositions that a request asks for, by its last line."""
    last = body["messages"][-1]["content"].rsplit("\n", 1)[-1]
    single = re.search(r"It is about `(\w+)`", last)
    return [single[1]] if single else re.findall(r'"(\w+)": …', last)


def answer_of(body: dict[str, Any]) -> str:
    """The graded answer's text."""
    text = next(m["content"] for m in body["messages"] if "Answer:\n> " in m["content"])
    lines = text.split("Answer:\n", 1)[1].split("\n")
    return "\n".join(line[2:] for line in lines if line.startswith("> "))


def verdicts(body: dict[str, Any], true: Callable[[str], bool]) -> str:
    """Right JSON for a request."""
    names = asked_of(body)
    said = {n: {"verdict": true(n), "reason": f"because of {n}"} for n in names}
    return json.dumps(said[names[0]] if len(names) == 1 else said)
