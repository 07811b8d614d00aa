"""Answers that are graded before their grades are asked for."""

import threading

import numpy as np
import pytest

from rbr.data.rows import Message
from rbr.errors import GraderError
from rbr.grading.ahead import AheadGrader
from tests.fakes import FixedGrader

NAMES = ("one", "two", "three")
TALK = (Message(role="user", content="q"),)


class Slow(FixedGrader):
    """Waits for ``go`` in other threads than the test's own, and notes what it is asked where."""

    def __init__(self):
        super().__init__(NAMES)
        self.go, self.begun = threading.Event(), threading.Event()
        self.asked, self.fails = [], 0

    def grade(self, conversations, completions, progress=None, propositions=None):
        ahead = threading.current_thread() is not threading.main_thread()
        self.asked.append((ahead, list(completions)))
        if ahead:
            self.begun.set()
            assert self.go.wait(20)
        if self.fails:
            self.fails -= 1
            raise GraderError("no grade for completion 0")
        return super().grade(conversations, completions)


@pytest.fixture
def slow():
    grader = Slow()
    yield grader
    grader.go.set()


def grades(texts):
    return FixedGrader(NAMES).grade([TALK] * len(texts), texts)


def test_the_grades_are_the_graders_whatever_was_announced(slow):
    slow.go.set()
    ahead = AheadGrader(slow)
    for text in ("b", "d", "never asked for", "b"):
        ahead.prepare(TALK, text)
    texts = ["a", "b", "c", "d", "a"]
    np.testing.assert_array_equal(ahead.grade([TALK] * 5, texts), grades(texts))
    asked = [text for _, some in slow.asked for text in some]
    assert sorted(asked) == ["a", "b", "c", "d", "never asked for"]  # each once
    np.testing.assert_array_equal(
        ahead.grade([TALK], ["b"], propositions=("three", "one")), grades(["b"])[:, [2, 0]]
    )
    assert ahead.grade([], []).shape == (0, 3)


def test_an_announced_answer_is_graded_at_once_and_waited_for(slow):
    ahead = AheadGrader(slow)
    ahead.prepare(TALK, "a")
    assert slow.begun.wait(20)
    ahead.prepare(TALK, "b")  # returns though the grader is busy
    timer = threading.Timer(0.2, slow.go.set)
    timer.start()
    np.testing.assert_array_equal(ahead.grade([TALK] * 3, ["a", "b", "c"]), grades(["a", "b", "c"]))
    # "c" did not wait for the others.
    assert slow.asked == [(True, ["a"]), (False, ["c"]), (True, ["b"])]


def test_answers_are_told_apart_by_their_conversations(slow):
    slow.go.set()
    other, ahead = (Message(role="user", content="r"),), AheadGrader(slow)
    ahead.prepare(TALK, "a")
    found = ahead.grade([TALK, other], ["a", "a"])
    np.testing.assert_array_equal(found, FixedGrader(NAMES).grade([TALK, other], ["a", "a"]))


def test_a_failure_ahead_is_tried_again_and_a_lasting_one_is_raised(slow):
    slow.go.set()
    ahead = AheadGrader(slow)
    slow.fails = 1
    ahead.prepare(TALK, "a")
    np.testing.assert_array_equal(ahead.grade([TALK], ["a"]), grades(["a"]))
    slow.fails = 2
    ahead.prepare(TALK, "b")
    with pytest.raises(GraderError, match="no grade"):
        ahead.grade([TALK], ["b"])
    np.testing.assert_array_equal(ahead.grade([TALK], ["b"]), grades(["b"]))


def test_it_names_the_graders_identity(slow):
    assert AheadGrader(slow).identity("one") == "fixed:one"
