"""Several servers of one model: which to ask, how many requests at once, when to ask again.

Of several servers the least loaded is asked; one that fails is left out and tried again later, with
growing pauses or after the one that it asks for (``Retry-After``).
"""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from rbr.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from openai import AsyncOpenAI

T = TypeVar("T")

# Statuses below 500 that pass: time-out, conflict, a generation that failed (TGI), too early, too many
# requests, no capacity (Groq).
PASSING = (408, 409, 424, 425, 429, 498)
NOT_IMPLEMENTED = 501
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
# A server that asks for a longer pause (a quota for the day) is an error rather than a wait.
LONGEST_WAIT = 600.0
DRIPPING = 4
# What llama.cpp answers 500 for, though no repeat helps: the request's turns or its schema.
NEVER = ("jinja", "system role", "roles must alternate", "parse grammar")


class Passing(Exception):
    """An answer that cannot be used, where the same request may succeed later.

    Args:
        pause: seconds that the server asks for.
        busy: whether it only takes too many requests at the moment.
    """

    def __init__(self, reason: str, pause: float | None = None, busy: bool = False) -> None:
        super().__init__(reason)
        self.pause = pause
        self.busy = busy


class Refused(Exception):
    """A request that the server will never answer as it stands."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class Server:
    """One server.

    Attributes:
        gate: bounds the requests under way.
        load: answers being made on it.
        pause: seconds that it is left out for after its next failure.
        out_until: when it is tried again, on the clock of ``Servers``.
    """

    address: str
    client: AsyncOpenAI | None = None
    gate: asyncio.Semaphore = field(default_factory=asyncio.Semaphore)
    load: int = 0
    pause: float = FIRST_PAUSE
    out_until: float = 0.0


@dataclass
class Servers:
    """Several servers of one model; which one to ask.

    Attributes:
        answered, retried: requests that were answered, and those that had to be repeated.
    """

    every: Sequence[Server]
    clock: Callable[[], float] = time.monotonic
    answered: int = 0
    retried: int = 0

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

    def failed(self, server: Server, pause: float | None = None) -> None:
        """Leave a server out: for ``pause`` seconds, or twice as long each time until it answers again."""
        if pause is not None:
            server.out_until = max(server.out_until, self.clock() + pause)
        elif self.usable(server):
            server.out_until = self.clock() + server.pause
            server.pause = min(2 * server.pause, LONGEST_PAUSE)

    def worked(self, server: Server) -> None:
        """A server answered."""
        self.answered += 1
        server.pause = FIRST_PAUSE
        server.out_until = 0.0

    async def ask(
        self, home: Server, send: Callable[[Server], Awaitable[T]], retries: int, what: str
    ) -> T:
        """Send a request to ``home``, whose cache may have its prefix; to another while that is left out.

        A refusal because of too many requests does not count as a try if others were answered since the
        one before.

        Args:
            send: raises ``Passing`` where another try may help, ``Refused`` where none will.
            what: names what is asked for, in errors.

        Raises:
            ServerError: once ``retries`` further tries have failed too, or the server refuses.
        """
        server, tries, error = home, 0, None
        answered = self.answered
        while tries <= retries:
            server = home if self.usable(home) else self.choose()
            if self.wait(server) > LONGEST_WAIT:
                break
            await asyncio.sleep(self.wait(server))
            async with server.gate:
                if not self.usable(server):
                    continue  # it failed others while this request waited for its turn
                try:
                    answer = await send(server)
                except Passing as failure:
                    error = failure
                    self.failed(server, failure.pause)
                    tries += not (failure.busy and self.answered > answered)
                    answered = self.answered
                    self.retried += tries <= retries
                    continue
                except Refused as failure:
                    raise ServerError(f"{server.address} gave no {what}: {failure}") from failure
            self.worked(server)
            return answer
        reason = f" ({error})" if error else ""
        wait = self.wait(server)
        later = f"; it asks for a pause of {wait:.0f} s" if wait > LONGEST_WAIT else ""
        raise ServerError(
            f"{server.address} gave no {what} after {max(0, tries - 1)} further tries{reason}{later}:"
            " see that the server runs and is not overloaded"
        ) from error


@asynccontextmanager
async def open_servers(
    addresses: Sequence[str], key: str | None, concurrency: int, timeout: float
) -> AsyncIterator[Servers]:
    """Clients of servers, for the event loop that runs; ``concurrency`` requests at once each."""
    from openai import AsyncOpenAI

    async with AsyncExitStack() as stack:
        every = []
        for address in addresses:
            # The client's own retries would stay with a server that fails.
            client = AsyncOpenAI(
                base_url=address, api_key=key or "none", timeout=timeout, max_retries=0
            )
            await stack.enter_async_context(client)
            every.append(Server(address, client, asyncio.Semaphore(concurrency)))
        yield Servers(every)


async def send(create: Any, timeout: float, **arguments: Any) -> bytes:
    """The body of a server's answer.

    Args:
        create: a ``with_raw_response.create`` of the openai library.
        timeout: seconds between two parts of the answer. One that drips for ``DRIPPING`` times as long
            is no better than one that hangs.

    Raises:
        Passing: no connection, a time-out, or a status that passes.
        Refused: any other status.
    """
    from openai import APIConnectionError, APIStatusError

    try:
        async with asyncio.timeout(DRIPPING * timeout):
            answer = await create(**arguments)
        return bytes(answer.content)
    except TimeoutError as error:
        raise Passing(f"no whole answer within {DRIPPING * timeout:g} s") from error
    except APIStatusError as error:
        reason = textwrap.shorten(str(error) or type(error).__name__, 600, placeholder="…")
        status = error.status_code
        if status == 500 and any(words in reason.lower() for words in NEVER):
            raise Refused(reason, 400) from error
        if (status >= 500 and status != NOT_IMPLEMENTED) or status in PASSING:
            pause = retry_after(error.response.headers)
            raise Passing(reason, pause, busy=status == 429) from error
        raise Refused(reason, status) from error
    except APIConnectionError as error:
        raise Passing(str(error) or type(error).__name__) from error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` asks for (seconds or an HTTP date), or ``retry-after-ms``; else None."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * unit
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, TypeError):
        return None
    # A date without a zone is in GMT, as all HTTP dates are.
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run asynchronous work to its end, inside a running event loop (a notebook's) too.

    Raises:
        Exception: the first one that a task raised, in place of the group.
    """
    try:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(work)
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, work).result()
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group
