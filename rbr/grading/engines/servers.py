"""Several servers of one model: the least loaded is asked first, one that fails is left out for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


@dataclass
class Server:
    """One server.

    Attributes:
        gate: bounds the requests under way.
        load: answers being graded on it.
        asked: requests that it was sent.
        pause: seconds that it is left out for after its next failure.
        out_until: when it is tried again, on the clock of ``Servers``.
    """

    address: str
    gate: asyncio.Semaphore
    load: int = 0
    asked: int = 0
    pause: float = FIRST_PAUSE
    out_until: float = 0.0


@dataclass
class Servers:
    """Which of several servers to ask."""

    addresses: Sequence[str]
    concurrency: int
    clock: Callable[[], float] = time.monotonic
    every: list[Server] = field(init=False)

    def __post_init__(self) -> None:
        self.every = [
            Server(address, asyncio.Semaphore(self.concurrency)) for address in self.addresses
        ]

    def usable(self, server: Server) -> bool:
        """Whether a server is not left out now."""
        return server.out_until <= self.clock()

    def choose(self) -> Server:
        """The least loaded of the usable ones; of none, that which is tried again first."""
        usable = [server for server in self.every if self.usable(server)]
        if usable:
            return min(usable, key=lambda server: server.load)
        return min(self.every, key=lambda server: server.out_until)

    def wait(self, server: Server) -> float:
        """Seconds until a server may be tried again."""
        return max(0.0, server.out_until - self.clock())

    def failed(self, server: Server) -> None:
        """Leave a server out: twice as long each time, until it answers again."""
        if self.usable(server):
            server.out_until = self.clock() + server.pause
            server.pause = min(2 * server.pause, LONGEST_PAUSE)

    def worked(self, server: Server) -> None:
        """A server answered."""
        server.pause = FIRST_PAUSE
        server.out_until = 0.0
