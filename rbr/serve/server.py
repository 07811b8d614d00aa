"""Running the application under uvicorn, with a stop that finishes what is queued."""

from __future__ import annotations

import math
import socket
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.config import LOGGING_CONFIG

from rbr.errors import RBRError
from rbr.serve.settings import ServeSettings

# Uvicorn's own, and a line of ours a request, with its id.
LOGGING: dict[str, Any] = {
    **LOGGING_CONFIG,
    "loggers": {
        **LOGGING_CONFIG["loggers"],
        "rbr.serve": {"handlers": ["default"], "level": "INFO"},
    },
}


class Server(uvicorn.Server):
    """On the first signal new requests get 503 at once; those already accepted are answered."""

    def __init__(self, app: FastAPI, settings: ServeSettings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_config=LOGGING,
                limit_concurrency=settings.max_connections,
                # The worker answers its open jobs after stop_seconds; this is for what hangs besides.
                timeout_graceful_shutdown=math.ceil(settings.stop_seconds) + 5,
            )
        )
        self._worker = app.state.worker

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See uvicorn; runs in the signal's handler."""
        super().handle_exit(sig, frame)
        self._worker.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to an address, not listening yet.

    Raises:
        RBRError: naming the address, if that is not possible.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise RBRError(
            f"cannot serve on {host} port {port} ({error.strerror}): give another --host or --port"
        ) from error
    return bound
