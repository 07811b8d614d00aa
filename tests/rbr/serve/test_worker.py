"""The queue and its thread: batches, isolation of failures, giving up, and stopping."""

import asyncio
import time
from contextlib import AsyncExitStack

import anyio.to_thread
import numpy as np
import pytest

from rbr.data.rows import Message
from rbr.errors import DataError
from rbr.serve.errors import ServeError
from rbr.serve.jobs import Item
from rbr.serve.settings import ServeSettings
from rbr.serve.worker import Worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def item(completion, response_type="comply"):
    return Item((Message(role="user", content="q"),), completion, response_type)


@pytest.fixture
async def worker_of():
    async with AsyncExitStack() as stack:

        async def make(reward, **settings):
            worker = Worker(reward, ServeSettings(**settings))
            await stack.enter_async_context(worker.running())
            if hasattr(reward, "go"):
                stack.callback(reward.go.set)
            return worker

        yield make


async def submit(worker, completions, **options):
    """Jobs of single completions, queued in this order."""
    jobs = [asyncio.create_task(worker.score([item(text)], **options)) for text in completions]
    for job in jobs:
        # A test need not await them all.
        job.add_done_callback(lambda job: job.cancelled() or job.exception())
    await asyncio.sleep(0)
    return jobs


async def queued(worker, tricky, completions):
    """Jobs of single completions that wait behind one that is held."""
    tricky.go.clear()
    tricky.begun.clear()
    await submit(worker, ["held"])
    assert await anyio.to_thread.run_sync(tricky.begun.wait, 10)
    return await submit(worker, completions)


async def rewards_of(jobs):
    return [(await asyncio.wait_for(job, 10))[0].reward for job in jobs]


async def test_what_waits_is_scored_together_up_to_the_batch_size(worker_of, tricky, direct):
    worker = await worker_of(tricky, max_batch=4, max_wait_ms=0)
    jobs = await queued(worker, tricky, [f"c{i}" for i in range(10)])
    tricky.go.set()
    assert await rewards_of(jobs) == [direct(item(f"c{i}")) for i in range(10)]
    assert tricky.batches == [1, 4, 4, 2]


async def test_the_first_of_a_batch_waits_for_others(worker_of, tricky):
    worker = await worker_of(tricky, max_batch=3, max_wait_ms=60_000)
    await rewards_of(await submit(worker, ["a", "b", "c"]))
    assert tricky.batches == [3]


async def test_a_lone_job_waits_no_longer_than_it_must(worker_of, tricky):
    worker = await worker_of(tricky, max_wait_ms=50)
    start = time.monotonic()
    await worker.score([item("c")])
    assert 0.045 <= time.monotonic() - start < 2


async def test_a_job_larger_than_a_batch_is_scored_in_slices(worker_of, tricky, direct):
    worker = await worker_of(tricky, max_batch=4, max_wait_ms=0)
    found = await worker.score([item(f"c{i}") for i in range(10)])
    assert [s.reward for s in found] == [direct(item(f"c{i}")) for i in range(10)]
    assert tricky.batches == [4, 4, 2]


async def test_explanations_and_rewards_share_a_batch(worker_of, tricky, direct):
    worker = await worker_of(tricky, max_wait_ms=0)
    [before] = await queued(worker, tricky, ["before"])
    [explained] = await submit(worker, ["explained"], explain=True)
    [after] = await submit(worker, ["after"])
    tricky.go.set()
    assert await rewards_of([before, after]) == [direct(item("before")), direct(item("after"))]
    assert (await explained).reward == direct(item("explained"))
    assert tricky.batches == [1, 2]


async def test_only_the_job_that_the_reward_fails_on_gets_the_error(worker_of, tricky, direct):
    worker = await worker_of(tricky, max_wait_ms=0)
    texts = ["a", "poison", "b", "c"]
    jobs = await queued(worker, tricky, texts)
    tricky.go.set()
    poisoned = jobs.pop(1)
    with pytest.raises(ServeError, match="RuntimeError: the grader's server is gone"):
        await poisoned
    assert await rewards_of(jobs) == [direct(item(text)) for text in "abc"]


async def test_a_model_that_is_down_is_not_asked_once_a_job(worker_of, tricky):
    worker = await worker_of(tricky, max_wait_ms=0)
    jobs = await queued(worker, tricky, [f"c{i}" for i in range(20)])
    tricky.down = True
    tricky.go.set()
    for job in jobs:
        with pytest.raises(ServeError, match="gone"):
            await job
    assert tricky.batches == [1, 20, 1, 1]


async def test_scores_that_are_not_finite_do_not_mean_that_the_model_is_down(
    worker_of, tricky, direct
):
    worker = await worker_of(tricky, max_wait_ms=0)
    jobs = await queued(worker, tricky, ["infinite", "infinite", "poison", "fine"])
    tricky.go.set()
    assert await rewards_of(jobs[3:]) == [direct(item("fine"))]
    for job, error in zip(jobs, ["not_finite", "not_finite", "model_failed"], strict=False):
        with pytest.raises(ServeError) as caught:
            await job
        assert caught.value.error == error


@pytest.mark.parametrize("error", [SystemExit(3), MemoryError(), KeyboardInterrupt()])
async def test_the_worker_survives_whatever_a_model_raises(worker_of, tricky, direct, error):
    worker = await worker_of(tricky, max_wait_ms=0)
    right, tricky.components = tricky.components, lambda *given: (_ for _ in ()).throw(error)
    with pytest.raises(ServeError, match=type(error).__name__):
        await worker.score([item("c")])
    tricky.components = right
    assert (await worker.score([item("c")]))[0].reward == direct(item("c"))


async def test_a_reward_with_too_few_scores_is_a_failure(worker_of, tricky):
    worker = await worker_of(tricky, max_wait_ms=0)
    tricky.components = lambda *given: (np.zeros(1), np.zeros(1), np.zeros((1, 1)))
    with pytest.raises(ServeError, match="1 and 1 scores for 2 completions"):
        await worker.score([item("a"), item("b")])


async def test_a_response_type_without_weights_is_the_requests_fault(worker_of, tricky):
    worker = await worker_of(tricky, max_wait_ms=0)

    def components(*given):
        raise DataError("no weights for it")

    tricky.components = components
    with pytest.raises(ServeError) as caught:
        await worker.score([item("a")])
    assert caught.value.status_code == 422


async def test_an_explanation_that_fails_or_is_not_finite_is_an_error(worker_of, tricky, reward):
    worker = await worker_of(tricky, max_wait_ms=0)

    def fail(*given):
        raise RuntimeError("gone")

    tricky.explain = fail
    with pytest.raises(ServeError, match="gone"):
        await worker.score([item("a")], explain=True)
    explanation = reward.explain(item("a").conversation, "a", "comply")
    tricky.explain = lambda *given: type(explanation)("comply", np.nan, {}, np.nan)
    with pytest.raises(ServeError, match="nan"):
        await worker.score([item("a")], explain=True)


async def test_a_cancelled_job_makes_room_and_is_not_scored(worker_of, tricky):
    worker = await worker_of(tricky, max_waiting=256, max_wait_ms=0)
    jobs = await queued(worker, tricky, [f"c{i}" for i in range(256)])
    with pytest.raises(ServeError, match="256 completions wait"):
        await worker.score([item("more")])
    for job in jobs[:100]:
        job.cancel()
    await asyncio.sleep(0.01)
    assert worker.state().waiting == 156
    more = await submit(worker, ["more"])
    tricky.go.set()
    await rewards_of(more)
    assert sum(tricky.batches) == 1 + 157


async def test_stopping_finishes_what_is_queued_and_accepts_no_more(worker_of, tricky, direct):
    worker = await worker_of(tricky, max_wait_ms=60_000, max_batch=64)
    jobs = await submit(worker, [f"c{i}" for i in range(5)])
    assert worker.ready
    worker.close()
    with pytest.raises(ServeError) as caught:
        await worker.score([item("late")])
    assert (caught.value.status_code, caught.value.error) == (503, "stopping")
    assert not worker.ready
    assert await rewards_of(jobs) == [direct(item(f"c{i}")) for i in range(5)]


async def test_stopping_is_bounded_in_time(tricky):
    worker = Worker(tricky, ServeSettings(stop_seconds=0.2, max_wait_ms=0))
    async with worker.running():
        [waiting] = await queued(worker, tricky, ["waits"])
        [running] = worker._running
        start = time.monotonic()
    assert time.monotonic() - start < 2
    for outcome in (running.outcome, waiting):
        with pytest.raises(ServeError) as caught:
            await outcome
        assert (caught.value.status_code, caught.value.error) == (503, "stopped")
    # The held batch comes back to an outcome that is set: nothing may break.
    tricky.go.set()


async def test_the_wait_that_a_full_queue_states_follows_what_is_measured(worker_of, tricky):
    worker = await worker_of(tricky, max_wait_ms=0, max_waiting=256)
    for _ in range(40):
        await worker.score([item("quick")])
    await queued(worker, tricky, ["c"] * 256)
    with pytest.raises(ServeError) as caught:
        await worker.score([item("more")])
    # 256 times the initial guess would be 13 seconds.
    assert 1 <= int(caught.value.headers["Retry-After"]) < 10
