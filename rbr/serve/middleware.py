"""What a request must pass before its body is parsed: the token, and the limit of its size."""

from __future__ import annotations

import hmac

from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    BaseUser,
    UnauthenticatedUser,
)
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rbr.serve.errors import ServeError, respond

OPEN_PATHS = ("/healthz",)


class BearerToken(AuthenticationBackend):
    """Requires one token on every path but ``OPEN_PATHS``."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """See Starlette.

        Raises:
            AuthenticationError: without the token.
        """
        scheme, _, token = conn.headers.get("authorization", "").partition(" ")
        # Compared in constant time, as bytes: a header may hold any of latin-1.
        right = hmac.compare_digest(token.strip().encode("latin-1"), self._token)
        if conn.scope["path"] not in OPEN_PATHS and not (right and scheme.lower() == "bearer"):
            raise AuthenticationError
        return AuthCredentials(), UnauthenticatedUser()


def unauthorized(conn: HTTPConnection, error: AuthenticationError) -> Response:
    """The response to a request without the token; its body is not read."""
    headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
    message = "this service requires its bearer token"
    return respond(ServeError(401, "unauthorized", message, headers=headers))


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
