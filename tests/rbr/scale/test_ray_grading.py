"""Grading on a real Ray cluster of two nodes."""

import threading

import numpy as np
import pytest

from rbr.errors import GraderError, RBRError
from rbr.grading import GradeStore, HeadGrader, StoredGrader
from rbr.scale.batches import run_batches


@pytest.fixture
def stored(head, tiny_model, rules, tmp_path):
    """A stored grader whose misses are graded by workers."""

    def make(scale, name, rows=100):
        grader = HeadGrader(head, tiny_model)
        store = GradeStore(tmp_path / f"{name}.sqlite")
        return StoredGrader(grader, store, rules.grading_texts(), batch_size=rows, scale=scale)

    return make


class Puts:
    """Counts what is written into a store."""

    def __init__(self, store, on_put=lambda count: None):
        self.keys = []
        self._put, self._on_put = store.put, on_put
        store.put = self

    def __call__(self, grades, reasons=None):
        self.keys += grades
        self._put(grades, reasons)
        self._on_put(len(self.keys))


def test_two_workers_grade_as_one_does(stored, scale, answers, head_grader):
    graded = {}
    for workers in (1, 2):
        grader = stored(scale(workers), str(workers))
        graded[workers] = grader.grade(*answers)
        assert len(grader.store) == 2000 * 23
        assert grader.calls == 2000 * 23
    assert np.array_equal(graded[1], graded[2])
    here = head_grader.grade(answers[0][:300], answers[1][:300])
    assert graded[1][:300] == pytest.approx(here, abs=1e-5)


def test_a_node_killed_in_mid_job_loses_nothing_and_nothing_is_graded_twice_into_the_store(
    stored, scale, answers, nodes
):
    expected = stored(scale(1), "whole").grade(*answers)
    grader = stored(scale(2), "killed", rows=50)
    killed = threading.Event()

    def kill(count):
        if count >= 400 * 23 and not killed.is_set():
            killed.set()
            nodes.kill(nodes.second)

    puts = Puts(grader.store, kill)
    try:
        graded = grader.grade(*answers)
    finally:
        nodes.second = nodes.add()
    assert killed.is_set()
    assert graded == pytest.approx(expected, abs=1e-5)
    assert len(puts.keys) == len(set(puts.keys)) == len(grader.store) == 2000 * 23


def test_what_is_in_the_store_is_not_sent_to_the_cluster(stored, scale, answers):
    conversations, texts = (own[:200] for own in answers)
    grader = stored(scale(2), "again")
    first = grader.grade(conversations, texts)
    calls = grader.calls
    assert np.array_equal(grader.grade(conversations, texts), first)
    assert grader.calls == calls


def failing(error):
    """Makes workers that fail at the third batch; local, so that nodes need not import this file."""

    def make():
        def work(batch):
            if batch == 2:
                raise error
            return batch

        return work

    return make


def test_an_error_of_a_worker_comes_as_it_was(scale):
    with pytest.raises(GraderError, match="no grade for completion 7"):
        list(run_batches(failing(GraderError("no grade for completion 7")), range(4), scale(2)))


def test_a_broken_worker_is_one_line(scale):
    with pytest.raises(RBRError, match=r"the cluster at .* failed: .*division") as raised:
        list(run_batches(failing(ZeroDivisionError("division by zero")), range(4), scale(1)))
    assert "\n" not in str(raised.value)
