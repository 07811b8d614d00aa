"""The grade store keeps what it is told, under what it depends on."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from rbr.data.rows import Message
from rbr.errors import GraderError, RBRError
from rbr.grading import GradeStore, StoredGrader
from rbr.grading.base import Graded

NAMES = ("apology", "judgement")
TALK = (Message(role="user", content="hello"),)


class Counting:
    """A grader that says how often it was asked."""

    name = "counting"
    propositions = NAMES
    thresholds = np.full(2, 0.5)

    def __init__(self):
        self.asked = []

    def identity(self, proposition):
        return self.name

    def grade(self, conversations, completions, progress=None, propositions=None):
        names = NAMES if propositions is None else propositions
        self.asked += [(text, name) for text in completions for name in names]
        values = {"apology": lambda text: len(text) / 100, "judgement": lambda text: 0.5}
        return np.array([[values[name](text) for name in names] for text in completions])


def stored(path, texts=None, grader=None):
    grader = grader or Counting()
    return grader, StoredGrader(
        grader, GradeStore(path), texts or {"apology": "a?", "judgement": "j?"}, batch_size=2
    )


def test_a_second_call_asks_nothing(tmp_path):
    grader, store = stored(tmp_path / "g.sqlite")
    first = store.grade([TALK] * 3, ["a", "bb", "ccc"])
    second = store.grade([TALK] * 3, ["a", "bb", "ccc"])
    np.testing.assert_array_equal(first, second)
    assert [text for text, _ in grader.asked] == ["a", "a", "bb", "bb", "ccc", "ccc"]
    assert store.calls == 6
    assert len(store.store) == 6


def test_an_edited_proposition_misses_its_own_grades_alone(tmp_path):
    _, store = stored(tmp_path / "g.sqlite")
    store.grade([TALK], ["a"])
    before = len(store.store)
    grader, edited = stored(tmp_path / "g.sqlite", {"apology": "other?", "judgement": "j?"})
    edited.grade([TALK], ["a"])
    assert len(edited.store) == before + 1
    assert grader.asked == [("a", "apology")]
    assert edited.calls == 1


def test_another_conversation_or_grader_is_another_key(tmp_path):
    _, store = stored(tmp_path / "g.sqlite")
    store.grade([TALK], ["a"])
    store.grade([(Message(role="user", content="other"),)], ["a"])
    assert len(store.store) == 4
    other = Counting()
    other.name = "another"
    _, third = stored(tmp_path / "g.sqlite", grader=other)
    third.grade([TALK], ["a"])
    assert other.asked == [("a", "apology"), ("a", "judgement")]


def write(path, offset):
    _, store = stored(path)
    for i in range(30):
        store.grade([TALK] * 2, [f"{offset} {i}", f"shared {i}"])


def test_writers_of_several_processes_lose_nothing(tmp_path):
    path = tmp_path / "g.sqlite"
    GradeStore(path).close()
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write, args=(path, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert len(GradeStore(path)) == 2 * (3 * 30 + 30)


def endless(path):
    _, store = stored(path)
    i = 0
    while True:
        store.grade([TALK] * 2, [f"x{i}", f"y{i}"])
        i += 1


def test_a_killed_writer_leaves_a_store_of_whole_batches(tmp_path):
    path = tmp_path / "g.sqlite"
    GradeStore(path).close()
    writer = multiprocessing.get_context("fork").Process(target=endless, args=(path,))
    writer.start()
    deadline = time.monotonic() + 30
    while len(GradeStore(path)) < 40 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    left = len(GradeStore(path))
    assert left >= 40
    assert left % 4 == 0


def test_a_file_that_is_no_store_is_named(tmp_path):
    path = tmp_path / "g.sqlite"
    path.write_text("this is no database, just a long enough text" * 30)
    with pytest.raises(RBRError, match=r"g\.sqlite"):
        GradeStore(path)


def test_a_thousand_completions_are_graded_once_and_an_edit_asks_a_part(tmp_path):
    names = tuple(f"p{i}" for i in range(23))

    class Many(Counting):
        propositions = names
        thresholds = np.full(23, 0.5)

        def grade(self, conversations, completions, progress=None, propositions=None):
            asked = names if propositions is None else propositions
            self.asked += [(text, name) for text in completions for name in asked]
            return np.full((len(completions), len(asked)), 0.25)

    texts = {name: f"{name}?" for name in names}
    completions = [f"answer {i}" for i in range(1000)]

    def grade(by):
        grader = Many()
        StoredGrader(grader, GradeStore(tmp_path / "g.sqlite"), by).grade(
            [TALK] * 1000, completions
        )
        return grader.asked

    assert len(grade(texts)) == 23_000
    assert grade(texts) == []
    again = grade({**texts, "p7": "worded otherwise?"})
    assert len(again) * 23 == 23_000
    assert {name for _, name in again} == {"p7"}


def test_threads_share_a_store(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    store = GradeStore(tmp_path / "g.sqlite")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.put({bytes([i]): i / 100}), range(64)))
        found = list(pool.map(lambda i: store.get([bytes([i])])[bytes([i])], range(64)))
    assert found == [i / 100 for i in range(64)]


@pytest.mark.parametrize("value", [np.nan, 1.5, -0.1])
def test_what_is_no_probability_is_no_grade(tmp_path, value):
    class Odd(Counting):
        def grade(self, conversations, completions, progress=None, propositions=None):
            grades = super().grade(conversations, completions, progress, propositions)
            grades[-1, 0] = value
            return grades

    _, store = stored(tmp_path / "g.sqlite", grader=Odd())
    with pytest.raises(GraderError, match="grades of 'bb' are not 2 probabilities"):
        store.grade([TALK] * 2, ["a", "bb"])
    assert len(store.store) == 0


def test_grades_of_another_shape_are_no_grades(tmp_path):
    class Short(Counting):
        def grade(self, *args, **kwargs):
            return np.full((1, 1), 0.5)

    _, store = stored(tmp_path / "g.sqlite", grader=Short())
    with pytest.raises(GraderError, match="not 2 probabilities"):
        store.grade([TALK], ["a"])


def test_a_store_without_a_file_is_temporary():
    grader, store = stored(None)
    store.grade([TALK], ["a"])
    store.grade([TALK], ["a"])
    assert len(grader.asked) == len(store.store) == 2
    assert len(GradeStore()) == 0


def test_the_store_keeps_no_grade_that_is_no_probability(tmp_path):
    store = GradeStore(tmp_path / "g.sqlite")
    for value in (np.nan, np.inf, -np.inf, 1.5):
        with pytest.raises(GraderError, match="no probability"):
            store.put({b"good": 0.5, b"bad": value})
    assert len(store) == 0


def test_a_grade_that_is_no_probability_is_graded_again(tmp_path):
    grader, store = stored(tmp_path / "g.sqlite")
    first = store.grade([TALK] * 2, ["a", "bb"])
    keys = [row[0] for row in store.store._db.execute("SELECT key FROM grades ORDER BY key")]
    for key, value in zip(keys, (np.nan, np.inf, None, 7.0), strict=True):
        store.store._db.execute("UPDATE grades SET p = ? WHERE key = ?", (value, key))
    assert len(store.store) == 0
    assert store.store.get(keys) == {}
    np.testing.assert_array_equal(store.grade([TALK] * 2, ["a", "bb"]), first)
    assert len(grader.asked) == 8
    assert len(store.store) == 4


class Reasoning(Counting):
    """Gives a reason for each grade."""

    def grade_with_reasons(self, conversations, completions, progress=None, propositions=None):
        names = NAMES if propositions is None else propositions
        p = self.grade(conversations, completions, progress, propositions)
        reasons = [[f"{name} of {text}\ud800" for name in names] for text in completions]
        return Graded(p, reasons)


def test_reasons_are_kept_beside_the_grades(tmp_path):
    path = tmp_path / "g.sqlite"
    grader, store = stored(path, grader=Reasoning())
    store.grade([TALK] * 2, ["a", "bb"])
    _, again = stored(path, grader=grader)
    graded = again.grade_with_reasons([TALK] * 3, ["a", "bb", "a"])
    assert graded.reasons[1] == ["apology of bb?", "judgement of bb?"]
    assert graded.reasons[2] == graded.reasons[0]
    assert graded.reasons_of(0, NAMES)["judgement"] == "judgement of a?"
    assert again.calls == 0


def test_a_store_without_reasons_goes_on(tmp_path):
    path = tmp_path / "g.sqlite"
    _, store = stored(path)
    expected = store.grade([TALK], ["a"])
    store.store._db.execute("DROP TABLE reasons")
    store.store.close()
    grader, store = stored(path)
    graded = store.grade_with_reasons([TALK], ["a"])
    np.testing.assert_array_equal(graded.probabilities, expected)
    assert graded.reasons == [["", ""]]
    assert not grader.asked
