"""What a webhook receives, and which addresses are refused."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from orchestration.notify import ALLOW_PRIVATE, URL, check_address, notify
from rbr.errors import RBRError


@pytest.fixture
def webhook(monkeypatch):
    """A server on loopback that keeps what it receives; ``answer`` is its status."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.received.append(json.loads(body))
            self.send_response(self.server.answer)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.received, server.answer = [], 200
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(URL, f"http://127.0.0.1:{server.server_port}/hook/s3cret")
        monkeypatch.setenv(ALLOW_PRIVATE, "true")
        yield server
        server.shutdown()


def test_an_event_is_a_log_line_and_a_message_to_the_webhook(webhook):
    messages = []
    notify("gate_failed", "too few families", {"artifact": "safety_prompts"}, messages.append)
    assert messages == ["notification: too few families"]
    assert webhook.received == [
        {"event": "gate_failed", "text": "too few families", "artifact": "safety_prompts"}
    ]


def test_without_a_webhook_there_is_the_log_line_alone(monkeypatch):
    monkeypatch.delenv(URL, raising=False)
    messages = []
    notify("released", "version 3", {}, messages.append)
    assert messages == ["notification: version 3"]


@pytest.mark.parametrize("status", [500, 302])
def test_a_webhook_that_fails_or_redirects_is_logged(webhook, status):
    webhook.answer = status
    messages = []
    notify("released", "version 3", {}, messages.append)
    assert len(webhook.received) == 1
    assert f"answered {status}" in messages[-1]
    assert "s3cret" not in " ".join(messages)


def test_a_webhook_that_is_down_stops_nothing_and_its_address_is_not_shown(monkeypatch):
    monkeypatch.setenv(URL, "http://127.0.0.1:1/hook/s3cret")
    monkeypatch.setenv(ALLOW_PRIVATE, "true")
    messages = []
    notify("released", "version 3", {}, messages.append)
    assert "cannot be reached" in messages[-1]
    assert "s3cret" not in " ".join(messages)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://localhost/x",
        "http://[::1]/x",
        "http://10.0.0.8/x",
        "http://192.168.1.1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/x",
        "http://2130706433/x",  # 127.0.0.1 as one number
    ],
)
def test_addresses_of_this_machine_and_its_network_are_refused(url):
    with pytest.raises(RBRError, match=r"private network|cannot be resolved"):
        check_address(url)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.org/x", "hook", "http://", "http://[x"]
)
def test_what_is_not_a_web_address_is_refused(url):
    with pytest.raises(RBRError, match=URL):
        check_address(url)


def test_a_refused_address_is_logged_and_not_called(webhook, monkeypatch):
    monkeypatch.delenv(ALLOW_PRIVATE)
    messages = []
    notify("released", "version 3", {}, messages.append)
    assert webhook.received == []
    assert "the webhook is not notified" in messages[-1]
    assert "s3cret" not in " ".join(messages)
