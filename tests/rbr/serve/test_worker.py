"""The queue and its thread: batches, isolation of failures, giving up, and stopping."""

import time

import numpy as np
import pytest

from rbr.data.rows import Message
from rbr.errors import DataError
from rbr.serve.errors import ServeError
from rbr.serve.jobs import Item, Job
from rbr.serve.settings import ServeSettings
from rbr.serve.worker import Worker


def item(completion, response_type="comply"):
    return Item((Message(role="user", content="q"),), completion, response_type)


@pytest.fixture
def worker_of():
    made = []

    def make(reward, **settings):
        worker = Worker(reward, ServeSettings(**settings))
        worker.start()
        made.append((worker, reward))
        return worker

    yield make
    for worker, reward in made:
        if hasattr(reward, "go"):
            reward.go.set()
        worker.stop()


def queued(worker, tricky, completions):
    """Futures of single completions that wait behind one that is held."""
    tricky.go.clear()
    tricky.begun.clear()
    worker.submit(Job([item("held")]))
    assert tricky.begun.wait(10)
    return [worker.submit(Job([item(text)])) for text in completions]


def test_what_waits_is_scored_together_up_to_the_batch_size(worker_of, tricky, direct):
    worker = worker_of(tricky, max_batch=4, max_wait_ms=0)
    futures = queued(worker, tricky, [f"c{i}" for i in range(10)])
    tricky.go.set()
    found = [future.result(10)[0].reward for future in futures]
    assert found == [direct(item(f"c{i}")) for i in range(10)]
    assert tricky.batches == [1, 4, 4, 2]


def test_the_first_of_a_batch_waits_for_others(worker_of, tricky):
    worker = worker_of(tricky, max_batch=3, max_wait_ms=5000)
    began = time.monotonic()
    futures = [worker.submit(Job([item(f"c{i}")])) for i in range(3)]
    for future in futures:
        future.result(10)
    assert tricky.batches == [3]
    assert time.monotonic() - began < 4


def test_a_lone_job_waits_no_longer_than_it_must(worker_of, tricky):
    worker = worker_of(tricky, max_wait_ms=50)
    began = time.monotonic()
    worker.submit(Job([item("c")])).result(10)
    assert 0.045 <= time.monotonic() - began < 2


def test_a_job_larger_than_a_batch_is_scored_in_slices(worker_of, tricky, direct):
    worker = worker_of(tricky, max_batch=4, max_wait_ms=0)
    found = worker.submit(Job([item(f"c{i}") for i in range(10)])).result(10)
    assert [s.reward for s in found] == [direct(item(f"c{i}")) for i in range(10)]
    assert tricky.batches == [4, 4, 2]


def test_explanations_keep_their_place_between_batches(worker_of, tricky, direct):
    worker = worker_of(tricky, max_wait_ms=0)
    [before] = queued(worker, tricky, ["before"])
    told = worker.submit(Job([item("told")], explain=True))
    after = worker.submit(Job([item("after")]))
    tricky.go.set()
    assert told.result(10).reward == direct(item("told"))
    assert before.result(10)[0].reward == direct(item("before"))
    assert after.result(10)[0].reward == direct(item("after"))
    assert tricky.batches == [1, 1, 1]


def test_only_the_job_that_the_reward_fails_on_gets_the_error(worker_of, tricky, direct):
    worker = worker_of(tricky, max_wait_ms=0)
    texts = ["a", "poison", "b", "c"]
    futures = queued(worker, tricky, texts)
    tricky.go.set()
    for text, future in zip(texts, futures, strict=True):
        if text == "poison":
            with pytest.raises(ServeError, match="RuntimeError: the grader's server is gone"):
                future.result(10)
        else:
            assert future.result(10)[0].reward == direct(item(text))


def test_a_model_that_is_down_is_not_asked_once_a_job(worker_of, tricky):
    worker = worker_of(tricky, max_wait_ms=0)
    futures = queued(worker, tricky, [f"c{i}" for i in range(20)])
    tricky.down = True
    tricky.go.set()
    for future in futures:
        with pytest.raises(ServeError, match="gone"):
            future.result(10)
    assert tricky.batches == [1, 20, 1, 1]


@pytest.mark.parametrize("error", [SystemExit(3), MemoryError(), KeyboardInterrupt()])
def test_the_worker_outlives_whatever_a_model_raises(worker_of, tricky, direct, error):
    worker = worker_of(tricky, max_wait_ms=0)
    right, tricky.parts = tricky.parts, lambda *given: (_ for _ in ()).throw(error)
    with pytest.raises(ServeError, match=type(error).__name__):
        worker.submit(Job([item("c")])).result(10)
    tricky.parts = right
    assert worker.submit(Job([item("c")])).result(10)[0].reward == direct(item("c"))


def test_a_reward_with_too_few_scores_is_a_failure(worker_of, tricky):
    worker = worker_of(tricky, max_wait_ms=0)
    tricky.parts = lambda *given: (np.zeros(1), np.zeros(1), np.zeros((1, 1)))
    with pytest.raises(ServeError, match="1 and 1 scores for 2 completions"):
        worker.submit(Job([item("a"), item("b")])).result(10)


def test_a_response_type_without_weights_is_the_requests_fault(worker_of, tricky):
    worker = worker_of(tricky, max_wait_ms=0)

    def parts(*given):
        raise DataError("no weights for it")

    tricky.parts = parts
    with pytest.raises(ServeError) as caught:
        worker.submit(Job([item("a")])).result(10)
    assert caught.value.status == 422


def test_an_explanation_that_fails_or_is_not_finite_is_an_error(worker_of, tricky, reward):
    worker = worker_of(tricky, max_wait_ms=0)

    def fail(*given):
        raise RuntimeError("gone")

    tricky.explain = fail
    with pytest.raises(ServeError, match="gone"):
        worker.submit(Job([item("a")], explain=True)).result(10)
    told = reward.explain(item("a").conversation, "a", "comply")
    tricky.explain = lambda *given: type(told)("comply", np.nan, {}, np.nan)
    with pytest.raises(ServeError, match="nan"):
        worker.submit(Job([item("a")], explain=True)).result(10)


def test_a_job_given_up_makes_room_and_is_not_scored(worker_of, tricky):
    worker = worker_of(tricky, max_waiting=256, max_wait_ms=0)
    futures = queued(worker, tricky, [f"c{i}" for i in range(256)])
    with pytest.raises(ServeError, match="256 completions wait"):
        worker.submit(Job([item("more")]))
    for future in futures[:100]:
        assert future.cancel()
    assert worker.depth()[0] == 156
    worker.submit(Job([item("more")]))
    tricky.go.set()
    futures[-1].result(10)
    worker.stop()
    assert sum(tricky.batches) == 1 + 157


def test_stopping_finishes_what_is_queued_and_takes_no_more(worker_of, tricky, direct):
    worker = worker_of(tricky, max_wait_ms=60_000, max_batch=64)
    futures = [worker.submit(Job([item(f"c{i}")])) for i in range(5)]
    assert worker.ready
    worker.stop_taking()
    with pytest.raises(ServeError) as caught:
        worker.submit(Job([item("late")]))
    assert (caught.value.status, caught.value.error) == (503, "stopping")
    assert not worker.ready
    assert [f.result(10)[0].reward for f in futures] == [direct(item(f"c{i}")) for i in range(5)]


def test_stopping_is_bounded_in_time(worker_of, tricky):
    worker = worker_of(tricky, stop_seconds=0.2, max_wait_ms=0)
    tricky.go.clear()
    running = worker.submit(Job([item("held")]))
    assert tricky.begun.wait(10)
    waiting = worker.submit(Job([item("waits")]))
    began = time.monotonic()
    worker.stop()
    assert time.monotonic() - began < 2
    for future in (running, waiting):
        with pytest.raises(ServeError) as caught:
            future.result(0)
        assert (caught.value.status, caught.value.error) == (503, "stopped")
    # The held batch comes back to a future that is settled: nothing may break.
    tricky.go.set()


def test_the_wait_that_a_full_queue_tells_follows_what_is_measured(worker_of, tricky):
    worker = worker_of(tricky, max_wait_ms=0, max_waiting=256)
    for _ in range(40):
        worker.submit(Job([item("quick")])).result(10)
    queued(worker, tricky, ["c"] * 256)
    with pytest.raises(ServeError) as caught:
        worker.submit(Job([item("more")]))
    # 256 times the first guess would be 13 seconds.
    assert 1 <= caught.value.retry_after < 10
