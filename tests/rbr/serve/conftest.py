"""A real reward over a grader and a reward model that say fixed things, and ways to serve it."""

import contextlib
import threading
import time

import numpy as np
import pytest
from fastapi.testclient import TestClient

from rbr.reward.rule_based_reward import RuleBasedReward
from rbr.serve import ServeSettings, create_app
from rbr.serve.jobs import Item
from rbr.serve.server import Server, bind
from tests.fakes import FixedGrader, FixedScorer, drawn_weights


class Tricky:
    """A reward that can be held and made to fail; it keeps the sizes of its batches."""

    def __init__(self, reward):
        self.reward = reward
        self.rules = reward.rules
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()
        self.batches = []
        self.down = False
        self.explain = reward.explain

    def components(self, conversations, completions, response_types):
        self.batches.append(len(completions))
        self.begun.set()
        assert self.go.wait(30)
        if self.down or "poison" in completions:
            raise RuntimeError("the grader's server is gone")
        base, rule_based, graded = self.reward.components(
            conversations, completions, response_types
        )
        base[[text == "infinite" for text in completions]] = np.inf
        return base, rule_based, graded


@pytest.fixture(scope="session")
def reward(rules):
    grader = FixedGrader(rules.proposition_names)
    return RuleBasedReward(rules, drawn_weights(rules), grader, FixedScorer())


@pytest.fixture
def tricky(reward):
    found = Tricky(reward)
    yield found
    found.go.set()


@pytest.fixture(scope="session")
def direct(reward):
    """The reward of one completion, asked without a service."""

    def ask(item: Item):
        base, rule_based, _ = reward.components(
            [item.conversation], [item.completion], [item.response_type]
        )
        return float(base[0] + rule_based[0])

    return ask


@pytest.fixture
def client_of():
    """Makes clients of an application in this process."""
    with contextlib.ExitStack() as stack:

        def make(reward, **settings):
            app = create_app(reward, ServeSettings(**settings))
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield make


@pytest.fixture
def live():
    """Starts real servers on free loopback ports; gives (URL, server, its thread)."""
    running = []

    def start(reward, **settings):
        chosen = ServeSettings(**settings)
        server = Server(create_app(reward, chosen), chosen)
        socket = bind("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
        thread.start()
        running.append((server, thread))
        until = time.monotonic() + 20
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        assert server.started
        return f"http://127.0.0.1:{socket.getsockname()[1]}", server, thread

    yield start
    for server, thread in running:
        server.handle_exit(15, None)
        thread.join(20)


@pytest.fixture
def soon():
    """Waits until something holds."""

    def wait(condition, seconds=10.0):
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, "it never came to hold"
            time.sleep(0.005)

    return wait
