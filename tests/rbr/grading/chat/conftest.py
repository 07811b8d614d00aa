"""Chat servers on loopback and graders that ask them."""

import pytest

from rbr.grading.load import make_chat_grader, make_guard
from rbr.grading.options import GraderOptions, GuardOptions
from tests.chat_server import ChatServer


@pytest.fixture
def servers():
    """Start servers that answer as they are told."""
    started = []

    def start(answer):
        server = ChatServer(answer)
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture
def grader_of(rules):
    """A chat grader of addresses; further arguments are chat options."""

    def make(*addresses, timeout=20.0, retries=2, concurrency=8, prompts=None, **chat):
        options = GraderOptions(
            engine="chat",
            served_name="m",
            chat={"reason": "after", **chat},
            timeout=timeout,
            retries=retries,
            concurrency=concurrency,
        )
        return make_chat_grader(options, rules, "m", addresses, prompts)

    return make


@pytest.fixture
def guard_of(rules):
    """The grader of a guard."""

    def make(address, format, **options):
        guard = GuardOptions(address=address, served_name="g", format=format, **options)
        return make_guard(guard, GraderOptions(retries=1, timeout=20.0), rules)

    return make
