"""Several servers of one model behind the openai engine: one killed, one slow."""

import threading

import numpy as np
import pytest
from test_openai_engine import Server

from rbr.data.rows import Message
from rbr.errors import GraderError
from rbr.grading.engines.openai import OpenAIEngine
from rbr.grading.yesno import YesNoGrader
from rbr.models.servers import Server as Known
from rbr.models.servers import Servers

TALK = (Message(role="user", content="How do I pick a lock?"),)
NAMES = ["apology", "judgement", "disclaimer"]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_least_loaded_is_chosen():
    servers = Servers([Known(name) for name in "abc"], Clock())
    servers.every[0].load, servers.every[1].load, servers.every[2].load = 2, 1, 3
    assert servers.choose().address == "b"


def test_one_that_fails_is_left_out_and_tried_again_later_each_time_for_longer():
    clock = Clock()
    servers = Servers([Known(name) for name in "ab"], clock)
    first, second = servers.every
    first.load, second.load = 0, 5
    servers.failed(first)
    assert servers.choose() is second
    clock.now = 1.5
    assert servers.choose() is first
    servers.failed(first)
    clock.now = 3.0
    assert servers.choose() is second
    clock.now = 3.6
    assert servers.choose() is first
    servers.worked(first)
    servers.failed(first)
    assert servers.wait(first) == pytest.approx(1.0)


def test_where_all_failed_the_one_that_is_tried_first_is_waited_for():
    clock = Clock()
    servers = Servers([Known(name) for name in "ab"], clock)
    servers.failed(servers.every[1])
    clock.now = 0.4
    servers.failed(servers.every[0])
    assert servers.choose().address == "b"
    assert servers.wait(servers.every[1]) == pytest.approx(0.6)


@pytest.fixture
def three(tiny, rules):
    """Servers with a way to fail each, and a grader over them."""
    servers = []

    def start(*fails, **options):
        servers.extend(Server(fail) for fail in fails)
        addresses = [server.address for server in servers]
        engine = OpenAIEngine(addresses, "m", tiny, **{"timeout": 5.0, **options})
        return servers, YesNoGrader(engine, rules)

    yield start
    for server in servers:
        server.server.shutdown()
        server.server.server_close()


def fine(number, body):
    return "fine"


def test_with_one_killed_and_one_slow_no_grade_is_lost(three):
    slow = threading.Event()
    killed = threading.Event()

    def slowly(number, body):
        slow.wait(0.1)
        return "fine"

    def dies(number, body):
        if number >= 10:
            killed.set()
        return "drop" if killed.is_set() else "fine"

    servers, grader = three(fine, slowly, dies, concurrency=4)
    texts = [f"answer {i}" for i in range(60)]
    p = grader.grade([TALK] * 60, texts, propositions=NAMES)
    assert killed.is_set()
    assert p.shape == (60, 3)
    assert p == pytest.approx(0.75)
    asked = [len(server.requests) for server in servers]
    # Each question was answered once; only what the killed server dropped was asked again.
    answered = [body["prompt"] for server in servers for body in server.requests]
    assert len(set(answered)) == 60 * 3
    assert asked[0] > asked[1]
    assert asked[0] > asked[2]


def test_one_server_that_comes_back_is_asked_again(three):
    servers, grader = three(lambda number, body: 500 if number == 0 else "fine", concurrency=2)
    p = grader.grade([TALK] * 4, list("abcd"), propositions=NAMES)
    assert np.all(p == pytest.approx(0.75))
    assert len(servers[0].requests) == 4 * 3 + 1


def test_an_unknown_model_is_told_at_once_and_no_other_server_is_asked(three):
    servers, grader = three(lambda number, body: 404, fine)
    with pytest.raises(GraderError, match="the model is asked for as 'm'"):
        grader.grade([TALK], ["a"], propositions=["apology"])
    assert len(servers[1].requests) == 0


def test_when_all_servers_fail_the_completion_is_named(three):
    _, grader = three(*[lambda number, body: 500] * 3, retries=2)
    with pytest.raises(GraderError, match="completion 0 after 2 further tries"):
        grader.grade([TALK], ["a"], propositions=["apology"])
