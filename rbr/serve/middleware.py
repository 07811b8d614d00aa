"""What a request must pass before its body is parsed: the token, and the limit of its size."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rbr.serve.errors import ServeError, respond

OPEN_PATHS = ("/healthz",)


class BearerToken:
    """Requires one token on every path but ``OPEN_PATHS``; nothing of a request without it is read."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS or self._allows(scope):
            await self.app(scope, receive, send)
        else:
            headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
            message = "this service requires its bearer token"
            error = ServeError(401, "unauthorized", message, headers=headers)
            await respond(error)(scope, receive, send)

    def _allows(self, scope: Scope) -> bool:
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        # Compared in constant time, as bytes: a header may hold any of latin-1.
        right = hmac.compare_digest(token.strip().encode("latin-1"), self._token)
        return right and scheme.lower() == "bearer"


class BodyLimit:
    """Refuses bodies of more than ``max_bytes``, whether or not the client states a length.

    Starlette's ``RequestBodyLimitMiddleware`` does too, with an error in plain text.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        size = 0

        async def receive_within_limit() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.max_bytes:
                limit = f"the body is larger than {self.max_bytes:,} bytes: send fewer items"
                raise ServeError(413, "too_large", limit)
            return message

        await self.app(scope, receive_within_limit, send)
