"""What a request must pass before anything is parsed: the token, and the size of its body."""

from __future__ import annotations

import asyncio
import hmac
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rbr.serve.errors import ServeError
from rbr.serve.settings import ServeSettings

# A client that is still sending does not read: closing at once would show it a broken connection instead
# of the 413. So a body too large is read on for a bounded while, and thrown away.
DISCARD_SECONDS = 2.0
OPEN_PATHS = ("/healthz",)


class RequestGuard:
    """ASGI middleware around the whole application.

    The body is read here, whole, and given on in one piece: no more than ``max_body_bytes`` of it is
    ever held, whether or not the client said a length.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self.app = app
        self.max_bytes = settings.max_body_bytes
        self._token = settings.token.get_secret_value().encode() if settings.token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._allowed(scope["path"], headers):
            problem = ServeError(401, "unauthorized", "this service wants its bearer token")
            await self._refuse(problem, scope, receive, send)
            return
        body = await self._body(headers, receive)
        if body is None:
            problem = ServeError(
                413,
                "too_large",
                f"the body is larger than {self.max_bytes:,} bytes: send fewer items",
            )
            await self._discard(receive)
            await self._refuse(problem, scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)

    def _allowed(self, path: str, headers: Headers) -> bool:
        if self._token is None or path in OPEN_PATHS:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        # Compared in constant time, as bytes: a header may hold any of latin-1.
        right = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
        return kind.lower() == "bearer" and right

    async def _body(self, headers: Headers, receive: Receive) -> bytes | None:
        """The body, or None where it is too large."""
        said = headers.get("content-length", "")
        if said.isdecimal() and int(said[:20]) > self.max_bytes:
            return None
        body = bytearray()
        while True:
            message = await receive()
            # A client that left mid-way: what came is no JSON, and nobody reads the answer.
            if message["type"] == "http.disconnect":
                return bytes(body)
            body += message.get("body", b"")
            if len(body) > self.max_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body)

    async def _discard(self, receive: Receive) -> None:
        until = time.monotonic() + DISCARD_SECONDS
        while (left := until - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(receive(), left)
            except TimeoutError:
                return
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return

    async def _refuse(
        self, problem: ServeError, scope: Scope, receive: Receive, send: Send
    ) -> None:
        response = problem.response()
        # What is left of the body must not be taken for the next request.
        response.headers["Connection"] = "close"
        await response(scope, receive, send)
