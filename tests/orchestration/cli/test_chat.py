"""``rbr chat`` under a pseudo-terminal, and its stream on a tiny model."""

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time

import pytest

from orchestration.cli.chat import streaming, talk
from rbr.data.rows import Message
from rbr.models.generate import generate
from rbr.models.tiny import make_tiny
from rbr.reward import RuleBasedReward
from tests.fakes import FixedGrader, FixedScorer, drawn_weights

# The command with a model and a reward that say fixed things; all else is as in earnest.
SCRIPT = """
import sys, time
from orchestration.cli import chat, common
from orchestration.cli.main import main
from rbr.reward import RuleBasedReward
from rbr.rules import load_rules
from tests.fakes import FixedGrader, FixedScorer, drawn_weights

rules = load_rules(common.find_root(None) / "rules")

def stream(conversation):
    for word in ("You ", "said: ", conversation[-1].content):
        yield word
        time.sleep(3)

chat.streaming = lambda source, tokens: stream
common.compiled_rules = lambda context: rules
common.load_reward = lambda context: RuleBasedReward(
    rules, drawn_weights(rules), FixedGrader(rules.proposition_names), FixedScorer()
)
sys.argv = ["rbr", *sys.argv[1:]]
main()
"""


class Terminal:
    """A process whose controlling terminal is a pseudo-terminal."""

    def __init__(self, arguments, cwd, environment):
        self.end, other = pty.openpty()
        self.process = subprocess.Popen(
            arguments,
            cwd=cwd,
            env=environment,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(other)
        self.seen, self.cursor = "", 0

    def type(self, text):
        os.write(self.end, text.encode())

    def wait(self, text, patience=300):
        """What comes after what was waited for before, up to and with this text."""
        until = time.monotonic() + patience
        while (found := self.seen.find(text, self.cursor)) < 0:
            assert time.monotonic() < until, self.seen
            if select.select([self.end], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.end, 4096).decode(errors="replace")
                except OSError:  # the process closed its side
                    pytest.fail(self.seen)
        start, self.cursor = self.cursor, found + len(text)
        return self.seen[start : self.cursor]

    def interrupt_until_it_ends(self, patience=300):
        """The exit status after Ctrl-C at the prompt.

        Python looks for a signal only when its wait for a key is cut short, so one that comes
        between the prompt and that wait is taken with the next key: as a person would, try again.
        """
        until = time.monotonic() + patience
        while time.monotonic() < until:
            self.type("\x03")
            try:
                return self.process.wait(20)
            except subprocess.TimeoutExpired:
                continue
        pytest.fail(self.seen)


@pytest.fixture
def terminal(root, written):
    environment = {**os.environ, "PYTHONPATH": str(root), "TERM": "dumb", "COLUMNS": "200"}
    own = Terminal([sys.executable, "-c", SCRIPT, "chat", "someone/a-model"], written, environment)
    yield own
    own.process.kill()
    own.process.wait()
    os.close(own.end)


def test_it_streams_and_shows_propositions_and_reward(terminal, rules):
    terminal.wait("> ")
    terminal.type("hello there\n")
    terminal.wait("You said: ")  # before the whole answer
    shown = terminal.wait("= R_rm")
    assert "reward" in shown
    terminal.wait("> ")
    terminal.type("/type hard_refusl\n")
    assert "/type 'hard_refusl' is not one of" in terminal.wait("> ")
    terminal.type("/type hard_refusal\n")
    terminal.wait("> ")
    terminal.type("again\n")
    parts = terminal.wait("\n> ").partition("= R_rm")[2]
    assert any(name in parts for name in rules.feature_names("hard_refusal"))
    terminal.type("\x04")  # Ctrl-D
    assert terminal.process.wait(300) == 0


def test_ctrl_c_stops_an_answer_and_then_leaves(terminal):
    terminal.wait("> ")
    terminal.type("hello\n")
    terminal.wait("You ")
    terminal.type("\x03")
    terminal.wait("[stopped]")
    terminal.wait("> ")
    assert terminal.interrupt_until_it_ends() == 0
    assert "Traceback" not in terminal.seen


def test_the_pieces_of_a_stream_are_the_answer_that_generate_gives(tmp_path):
    model = make_tiny(tmp_path / "tiny", ["Hello, how are you? I am well, thank you."])
    conversation = [Message(role="user", content="Hello")]
    pieces = list(streaming(model, 12)(conversation))
    assert "".join(pieces).strip() == generate(model, [conversation], 12, 1)[0].text


def test_an_answer_without_text_is_not_graded(rules, monkeypatch, capsys):
    said = iter(["hello", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(said))
    grader = FixedGrader(rules.proposition_names)
    reward = RuleBasedReward(rules, drawn_weights(rules), grader, FixedScorer())
    talk(lambda conversation: iter(["..."]), reward, None)
    assert "no text: nothing to grade" in capsys.readouterr().out
