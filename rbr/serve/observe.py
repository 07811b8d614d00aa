"""What is seen of the service: request ids, a log line a request, and metrics for Prometheus."""

from __future__ import annotations

import logging
import re
import time
import uuid
from contextvars import ContextVar
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from rbr.serve.worker import Worker

logger = logging.getLogger(__name__)
HEADER = "X-Request-ID"
# Of the request that is being answered; set for its whole task.
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
# A caller's own id is kept if it can stand in a header and in one line of a log.
_ACCEPTED = re.compile(r"[\w.\-]{1,128}", re.ASCII)
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Metrics of one application, in a registry of its own.

    Args:
        worker: whose queue is shown.
        paths: that have labels of their own; whatever else is asked for counts as ``other``.
    """

    def __init__(self, worker: Worker, paths: frozenset[str]) -> None:
        self.registry = CollectorRegistry()
        self.paths = paths
        self.requests = Counter(
            "rbr_requests", "Requests answered", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "rbr_request_seconds",
            "Time to answer",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        worker.batch_sizes = Histogram(
            "rbr_batch_completions",
            "Completions scored together",
            buckets=SIZES,
            registry=self.registry,
        )
        worker.batch_seconds = Histogram(
            "rbr_batch_seconds", "Time to score a batch", buckets=SECONDS, registry=self.registry
        )
        for name, text, value in (
            ("rbr_waiting_completions", "Completions in the queue", worker.waiting),
            ("rbr_ready", "Whether requests are accepted", lambda: float(worker.ready)),
        ):
            Gauge(name, text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)


class Observed:
    """Gives each request an id, and notes how it was answered: no text of it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        identity = given if _ACCEPTED.fullmatch(given) else uuid.uuid4().hex
        REQUEST_ID.set(identity)
        start, status = time.perf_counter(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = identity
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - start
            path = scope["path"] if scope["path"] in self._metrics.paths else "other"
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(seconds)
            # Prometheus and probes ask every few seconds: no news.
            level = logging.INFO if path in ("other", *WORK) else logging.DEBUG
            logger.log(level, "%s %s %d %.3fs %s", scope["method"], path, status, seconds, identity)


WORK = ("/reward", "/explain", "/get_reward")
