"""A bounded queue and the one thread that scores what waits in it."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from queue import SimpleQueue
from typing import Any, Protocol

from rbr.reward.rule_based_reward import RuleBasedReward
from rbr.serve.errors import ServeError
from rbr.serve.formats import Queue
from rbr.serve.jobs import Item, Job, Outcome, outcomes_of
from rbr.serve.observe import REQUEST_ID
from rbr.serve.settings import ServeSettings

# Before anything is measured, and how fast the estimate follows the measurements.
INITIAL_SECONDS = 0.05
SMOOTHING = 0.2
MAX_RETRY_SECONDS = 60


class Observer(Protocol):
    """A metric that values are added to."""

    def observe(self, amount: float) -> None:
        """Add a value."""


class Worker:
    """Scores jobs in batches, one batch at a time and in order.

    All but ``close`` belongs to the event loop. The reward is called in one thread: models are not
    safe for more, and two batches at once would only share the same cores.

    Attributes:
        ready: whether jobs are accepted.
    """

    def __init__(self, reward: RuleBasedReward, settings: ServeSettings) -> None:
        self.ready = False
        self._reward = reward
        self._settings = settings
        self._jobs: deque[Job] = deque()
        self._running: Sequence[Job] = ()
        self._since = 0.0
        self._seconds = INITIAL_SECONDS
        # Set by who wants to know the sizes and times of batches.
        self.batch_sizes: Observer | None = None
        self.batch_seconds: Observer | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Accept jobs inside the block; at its end wait for the open ones, see ``close``."""
        # Made anew for each lifespan: an event stays with the loop that first waits for it.
        self._changed = asyncio.Event()
        self._batches: SimpleQueue[tuple[list[Job], Future[list[Outcome]]] | None] = SimpleQueue()
        # A daemon: a model that hangs must not keep the process from ending.
        threading.Thread(target=self._call_reward, name="rbr-serve-worker", daemon=True).start()
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._score_batches())
        self._task.add_done_callback(lambda _: self.close())
        self.ready = True
        try:
            yield
        finally:
            self.close()
            await asyncio.wait([self._task])
            self._batches.put(None)

    def close(self) -> None:
        """Refuse new jobs from now on; those still open after ``stop_seconds`` fail.

        May be called from any thread, and by a signal's handler.
        """
        if self.ready:
            self.ready = False
            self._loop.call_soon_threadsafe(self._changed.set)
            self._loop.call_soon_threadsafe(
                self._loop.call_later, self._settings.stop_seconds, self._abandon
            )

    async def score(self, items: Sequence[Item], explain: bool = False) -> Any:
        """Queue a job and wait for its outcome. Cancelled, it leaves the queue if it still waits.

        Returns:
            An ``ItemReward`` an item; with ``explain``, the ``Explanation`` of the single item.

        Raises:
            ServeError: 429 if the queue is full, 503 if the service is stopping or the model failed,
                422 if the reward refuses an item.
        """
        if not self.ready:
            raise ServeError(503, "stopping", "the service is stopping")
        waiting = _count(self._jobs)
        if waiting + len(items) > self._settings.max_waiting:
            seconds = min(MAX_RETRY_SECONDS, max(1, math.ceil(waiting * self._seconds)))
            message = f"{waiting} completions wait, of {self._settings.max_waiting} at most"
            raise ServeError(429, "queue_full", message, headers={"Retry-After": str(seconds)})
        future = self._loop.create_future()
        job = Job(items, explain, self._loop.time(), future, REQUEST_ID.get() or "-")
        self._jobs.append(job)
        self._changed.set()
        try:
            return await job.outcome
        finally:
            if job in self._jobs:
                self._jobs.remove(job)

    def waiting(self) -> int:
        """Completions in the queue."""
        return _count(self._jobs)

    def state(self) -> Queue:
        """What waits and what is being scored."""
        scoring = _count(self._running)
        return Queue(
            waiting=_count(self._jobs),
            limit=self._settings.max_waiting,
            scoring=scoring,
            scoring_seconds=self._loop.time() - self._since if scoring else 0.0,
        )

    def _abandon(self) -> None:
        for job in [*self._running, *self._jobs]:
            job.settle(ServeError(503, "stopped", "the service stopped before this was scored"))
        self._jobs.clear()
        self._task.cancel()

    def _call_reward(self) -> None:
        """The body of the thread."""
        batches = self._batches
        while work := batches.get():
            batch, future = work
            # Once running it cannot be cancelled: a result that comes too late goes nowhere.
            if future.set_running_or_notify_cancel():
                future.set_result(outcomes_of(self._reward, batch, self._settings.max_batch))

    async def _score_batches(self) -> None:
        while batch := await self._next_batch():
            self._running, self._since = batch, self._loop.time()
            future: Future[list[Outcome]] = Future()
            self._batches.put((batch, future))
            outcomes = await asyncio.wrap_future(future)
            for job, outcome in zip(batch, outcomes, strict=True):
                job.settle(outcome)
            if self.batch_sizes and self.batch_seconds:
                self.batch_sizes.observe(_count(batch))
                self.batch_seconds.observe(self._loop.time() - self._since)
            seconds = (self._loop.time() - self._since) / _count(batch)
            self._seconds += SMOOTHING * (seconds - self._seconds)
            self._running = ()

    async def _next_batch(self) -> list[Job]:
        """The next batch; waits for one, and is empty once the worker is closed and idle."""
        while True:
            await self._until(lambda: bool(self._jobs) or not self.ready)
            if not self._jobs:
                return []
            # From the oldest's arrival: what waited while a batch was scored waits no longer.
            deadline = self._jobs[0].since + self._settings.max_wait_ms / 1000
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._until(
                        lambda: _count(self._jobs) >= self._settings.max_batch or not self.ready
                    )
            if batch := self._take():
                return batch

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _take(self) -> list[Job]:
        """Remove the next batch from the queue: one job, and more up to ``max_batch``."""
        batch: list[Job] = []
        while self._jobs and (
            not batch or _count([*batch, self._jobs[0]]) <= self._settings.max_batch
        ):
            batch.append(self._jobs.popleft())
        return batch


def _count(jobs: Iterable[Job]) -> int:
    """Completions of jobs."""
    return sum(len(job.items) for job in jobs)
