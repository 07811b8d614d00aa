"""A bounded queue and the one thread that scores what waits in it."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import Any

from rbr.serve.errors import ServeError
from rbr.serve.jobs import Job, Reward, run
from rbr.serve.settings import ServeSettings

# Before anything was measured, and how fast the estimate follows what is.
FIRST_GUESS_SECONDS = 0.05
SMOOTHING = 0.2
LONGEST_RETRY_SECONDS = 60


class Worker:
    """Takes jobs from any thread, scores them on its own, one batch at a time, in order.

    One thread: models are not safe for more, and two batches at once would only share the same cores.
    """

    def __init__(self, reward: Reward, settings: ServeSettings) -> None:
        self._reward = reward
        self._settings = settings
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._running: list[Job] = []
        self._since = 0.0
        self._waiting = 0
        self._seconds = FIRST_GUESS_SECONDS
        self._taking = False
        self._thread: threading.Thread | None = None
        self._timer: threading.Timer | None = None

    @property
    def ready(self) -> bool:
        """Whether jobs are taken."""
        return self._taking and self._thread is not None and self._thread.is_alive()

    def depth(self) -> tuple[int, int, float]:
        """Completions waiting, completions being scored, and seconds since those were begun."""
        with self._changed:
            scoring = sum(len(job.items) for job in self._running)
            return self._waiting, scoring, time.monotonic() - self._since if scoring else 0.0

    def start(self) -> None:
        """Start the thread and take jobs."""
        # A daemon: a model that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="rbr-serve-worker", daemon=True)
        self._taking = True
        self._thread.start()

    def submit(self, job: Job) -> Future[Any]:
        """Queue a job; cancelling the future takes it out again while it waits.

        Raises:
            ServeError: 429 if the queue is full, 503 if the service is stopping.
        """
        with self._changed:
            if not self._taking:
                raise ServeError(503, "stopping", "the service is stopping")
            if self._waiting + len(job.items) > self._settings.max_waiting:
                raise ServeError(
                    429,
                    "queue_full",
                    f"{self._waiting} completions wait, of {self._settings.max_waiting} at most",
                    retry_after=self._retry_after(),
                )
            job.since = time.monotonic()
            self._jobs.append(job)
            self._waiting += len(job.items)
            self._changed.notify()
        job.future.add_done_callback(lambda future: self._given_up(job))
        return job.future

    def stop_taking(self) -> None:
        """Refuse new jobs from now on; after ``stop_seconds`` those still open get an error."""
        with self._changed:
            if not self._taking:
                return
            self._taking = False
            self._changed.notify()
            self._timer = threading.Timer(self._settings.stop_seconds, self._give_up)
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> None:
        """Stop taking jobs and wait for the open ones, ``stop_seconds`` at most."""
        self.stop_taking()
        if self._thread is not None:
            self._thread.join(self._settings.stop_seconds)
        if self._timer is not None:
            self._timer.cancel()
        self._give_up()

    def _retry_after(self) -> int:
        seconds = math.ceil(self._waiting * self._seconds)
        return max(1, min(LONGEST_RETRY_SECONDS, seconds))

    def _given_up(self, job: Job) -> None:
        """A waiting job whose client left makes room for others."""
        if not job.future.cancelled():
            return
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._waiting -= len(job.items)

    def _give_up(self) -> None:
        with self._changed:
            left = [*self._running, *self._jobs]
            self._jobs.clear()
            self._waiting = 0
            self._changed.notify()
        for job in left:
            job.settle(ServeError(503, "stopped", "the service stopped before this was scored"))

    def _work(self) -> None:
        while batch := self._next():
            began = time.monotonic()
            run(self._reward, batch, self._settings.max_batch)
            count = sum(len(job.items) for job in batch)
            each = (time.monotonic() - began) / count
            with self._changed:
                self._running = []
                self._seconds += SMOOTHING * (each - self._seconds)

    def _next(self) -> list[Job]:
        """The next batch; waits for one, and is empty once the worker is to end."""
        with self._changed:
            while True:
                while not self._jobs and self._taking:
                    self._changed.wait()
                if not self._jobs:
                    return []
                # From the oldest's arrival: what waited through the batch before waits no longer.
                left = self._jobs[0].since + self._settings.max_wait_ms / 1000 - time.monotonic()
                full = self._waiting >= self._settings.max_batch or self._jobs[0].explain
                if not full and left > 0 and self._taking:
                    self._changed.wait(left)
                    continue
                if batch := self._take():
                    self._running, self._since = batch, time.monotonic()
                    return batch

    def _take(self) -> list[Job]:
        batch: list[Job] = []
        size = 0
        while self._jobs:
            job = self._jobs[0]
            if batch and (size + len(job.items) > self._settings.max_batch or job.explain):
                break
            self._jobs.popleft()
            self._waiting -= len(job.items)
            if not job.future.set_running_or_notify_cancel():
                continue
            batch.append(job)
            size += len(job.items)
            if job.explain:
                break
        return batch
