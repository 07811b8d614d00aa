"""Under real uvicorn: stopping, clients that leave, and addresses."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from rbr.data.rows import Message
from rbr.errors import RBRError
from rbr.serve import ServeSettings, create_app
from rbr.serve.errors import ServeError
from rbr.serve.jobs import Item
from rbr.serve.server import bind


def ask(url, completion):
    body = {"items": [{"prompt": "q", "completion": completion}]}
    return httpx.post(f"{url}/reward", json=body, timeout=30)


def open_ones(url):
    """Completions that wait or are being scored."""
    queue = httpx.get(f"{url}/healthz").json()["queue"]
    return queue["waiting"] + queue["scoring"]


def item(completion):
    return Item((Message(role="user", content="q"),), completion, None)


def test_a_graceful_stop_answers_what_was_accepted(live, tricky, direct, soon):
    url, server, thread = live(tricky, max_wait_ms=0, max_batch=2)
    tricky.go.clear()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, url, f"c{i}") for i in range(8)]
        soon(lambda: open_ones(url) == 8)
        with httpx.Client() as kept:
            assert kept.get(f"{url}/healthz").json()["ready"] is True
            server.handle_exit(15, None)
            # The connection is open still when this is sent, or closed: never a score, never a hang.
            try:
                late = kept.post(
                    f"{url}/reward", json={"items": [{"prompt": "q", "completion": "l"}]}
                )
                assert (late.status_code, late.json()["error"]) == (503, "stopping")
            except httpx.TransportError:
                pass
        time.sleep(0.5)
        with pytest.raises(httpx.TransportError):
            ask(url, "too late")
        assert thread.is_alive()
        tricky.go.set()
        found = [a.result().json()["rewards"][0]["reward"] for a in asked]
    assert found == [direct(item(f"c{i}")) for i in range(8)]
    thread.join(10)
    assert not thread.is_alive()


def test_a_stopping_service_says_so(client_of, tricky):
    client = client_of(tricky)
    client.app.state.worker.close()
    answer = client.post("/reward", json={"items": [{"prompt": "q", "completion": "c"}]})
    assert (answer.status_code, answer.json()["error"]) == (503, "stopping")
    health = client.get("/healthz")
    assert (health.status_code, health.json()["ready"]) == (503, False)


def test_an_application_that_ends_has_finished_its_work_and_accepts_no_more(reward, direct):
    app = create_app(reward, ServeSettings(max_wait_ms=60_000))
    worker = app.state.worker

    async def run():
        assert not worker.ready
        async with app.router.lifespan_context(app):
            assert worker.ready
            open_job = asyncio.create_task(worker.score([item("c")]))
            await asyncio.sleep(0)
        assert (await open_job)[0].reward == direct(item("c"))
        assert not worker.ready
        with pytest.raises(ServeError, match="stopping"):
            await worker.score([item("c")])

    asyncio.run(run())


def test_a_stop_is_bounded_and_answers_those_it_cannot_score(live, tricky, soon):
    url, server, thread = live(tricky, max_wait_ms=0, stop_seconds=0.5)
    tricky.go.clear()
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask, url, f"c{i}") for i in range(3)]
        soon(lambda: open_ones(url) == 3)
        began = time.monotonic()
        server.handle_exit(15, None)
        answers = [a.result() for a in asked]
    assert [a.status_code for a in answers] == [503] * 3
    assert {a.json()["error"] for a in answers} == {"stopped"}
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - began < 5


def leave(url, completion):
    """Send a request; the connection is for closing without reading."""
    host, _, port = url.removeprefix("http://").partition(":")
    body = json.dumps({"items": [{"prompt": "q", "completion": completion}]}).encode()
    connection = socket.create_connection((host, int(port)))
    head = (
        f"POST /reward HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def test_a_client_that_leaves_breaks_no_batch_and_frees_its_place(live, tricky, direct, soon):
    url, _, _ = live(tricky, max_wait_ms=0)

    def waiting():
        return httpx.get(f"{url}/healthz").json()["queue"]["waiting"]

    tricky.go.clear()
    scored = leave(url, "left while being scored")
    assert tricky.begun.wait(10)
    queued = leave(url, "left while waiting")
    with ThreadPoolExecutor(2) as pool:
        soon(lambda: waiting() == 1)
        asked = [pool.submit(ask, url, f"c{i}") for i in range(2)]
        soon(lambda: waiting() == 3)
        queued.close()
        scored.close()
        soon(lambda: waiting() == 2)
        tricky.go.set()
        found = [a.result().json()["rewards"][0]["reward"] for a in asked]
    assert found == [direct(item(f"c{i}")) for i in range(2)]
    assert tricky.batches == [1, 2]


def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nothing(live, tricky, direct):
    url, _, _ = live(tricky)
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /reward HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 500\r\n\r\n{"items": ['
        )
    assert ask(url, "c").json()["rewards"][0]["reward"] == direct(item("c"))
    assert tricky.batches == [1]


def test_an_address_in_use_is_named():
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RBRError, match=f"127.0.0.1 port {port}"):
            bind("127.0.0.1", port)


HANGING = """
import time
from pathlib import Path
from rbr.rules import load_rules
from rbr.serve import ServeSettings, create_app
from rbr.serve.server import Server, bind

class Hanging:
    rules = load_rules(Path("rules"))
    def components(self, *given):
        time.sleep(600)

settings = ServeSettings(stop_seconds=0.5)
address = bind("127.0.0.1", 0)
print(address.getsockname()[1], flush=True)
Server(create_app(Hanging(), settings), settings).run(sockets=[address])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_model_that_hangs_does_not_keep_the_process_from_ending(root, number):
    process = subprocess.Popen(
        [sys.executable, "-c", HANGING], cwd=root, stdout=subprocess.PIPE, text=True
    )
    try:
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        body = {"items": [{"prompt": "q", "completion": "c"}]}
        with (
            httpx.Client(transport=httpx.HTTPTransport(retries=10), timeout=30) as client,
            ThreadPoolExecutor() as pool,
        ):
            asked = pool.submit(client.post, f"{url}/reward", json=body)
            until = time.monotonic() + 20
            while not client.get(f"{url}/healthz").json()["queue"]["scoring"]:
                assert time.monotonic() < until
            process.send_signal(number)
            assert asked.result().json()["error"] == "stopped"
        process.wait(10)
    finally:
        process.kill()
        process.communicate()
