"""The token, the body's size, and bodies made to break a parser."""

import asyncio
import contextlib
import hashlib
import http.client
import json
import logging

import httpx
import pytest

from rbr.serve.errors import ServeError
from rbr.serve.middleware import BodyLimit
from rbr.serve.settings import ServeSettings

TOKEN = hashlib.sha256(b"a token of the tests").hexdigest()
ITEM = {"prompt": "q", "completion": "c"}
BODY = {"items": [ITEM]}


def test_with_a_token_all_but_the_health_require_it(client_of, tricky):
    client = client_of(tricky, token=TOKEN)
    assert client.get("/healthz").status_code == 200
    for header in (
        {},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer \u00e9".encode("latin-1")},
    ):
        for path in ("/reward", "/get_reward", "/explain", "/nowhere"):
            answer = client.post(path, json=BODY, headers=header)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json()["error"] == "unauthorized"
        assert client.get("/openapi.json", headers=header).status_code == 401
        assert client.get("/healthz/", headers=header).status_code == 401
    assert tricky.batches == []
    for kind in ("Bearer", "bearer"):
        answer = client.post("/reward", json=BODY, headers={"Authorization": f"{kind} {TOKEN}"})
        assert answer.status_code == 200


def test_the_token_is_shown_nowhere(client_of, tricky, caplog):
    settings = ServeSettings(token=TOKEN)
    assert TOKEN not in repr(settings)
    assert TOKEN not in settings.model_dump_json()
    with caplog.at_level(logging.DEBUG):
        client = client_of(tricky, token=TOKEN)
        tricky.down = True
        header = {"Authorization": f"Bearer {TOKEN}"}
        texts = [
            client.post("/reward", json=BODY, headers=header).text,
            client.post("/reward", json=BODY, headers={"Authorization": f"Bearer {TOKEN}x"}).text,
            client.get("/openapi.json", headers=header).text,
            client.get("/healthz").text,
        ]
    assert TOKEN not in caplog.text + "".join(texts)


def test_a_blank_token_is_no_token():
    with pytest.raises(ValueError, match="blank"):
        ServeSettings(token="  ")


def ask_with_body(client, size, chunk=None, **headers):
    """A right request, padded with spaces to ``size`` bytes; in chunks it states no length."""
    body = json.dumps(BODY).encode().ljust(size)
    content = [body[i : i + chunk] for i in range(0, size, chunk)] if chunk else body
    headers["Content-Type"] = "application/json"
    content = iter(content) if chunk else content
    return client.post("/reward", content=content, headers=headers)


def test_a_body_of_just_the_limit_is_accepted(client_of, tricky):
    client = client_of(tricky, max_body_bytes=1024)
    assert ask_with_body(client, 1024).status_code == 200
    assert ask_with_body(client, 1024, chunk=100).status_code == 200


def test_a_body_too_large_is_refused_whatever_its_length_says(client_of, tricky):
    client = client_of(tricky, max_body_bytes=1024)
    for answer in (
        ask_with_body(client, 1025),
        ask_with_body(client, 1025, chunk=100),
        ask_with_body(client, 1025, **{"Content-Length": "10"}),
    ):
        assert answer.status_code == 413
        assert answer.json()["error"] == "too_large"
    assert tricky.batches == []


def test_no_more_of_a_body_is_read_than_the_limit():
    """The limit bounds memory, also for bodies that never end."""
    read = []

    async def application(scope, receive, send):
        while True:
            await receive()

    async def receive():
        read.append(100)
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    limited = BodyLimit(application, 1024)
    with pytest.raises(ServeError, match="larger than 1,024 bytes"):
        asyncio.run(limited({"type": "http"}, receive, None))
    assert len(read) == 11


def test_large_bodies_are_refused_over_a_real_connection(live, tricky):
    url, _, _ = live(tricky, max_body_bytes=100_000)

    def parts():
        for _ in range(100):
            yield b"x" * 10_000

    with httpx.Client() as client:
        for content in (b"x" * 1_000_000, parts()):
            answer = client.post(
                f"{url}/reward", content=content, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 413
            assert answer.json()["error"] == "too_large"
            assert client.post(f"{url}/reward", json=BODY).status_code == 200
    assert tricky.batches == [1, 1]


def test_a_client_that_sends_all_before_it_reads_sees_the_413_too(live, tricky):
    url, _, _ = live(tricky, max_body_bytes=100_000)
    for _ in range(5):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", "/reward", body=b"x" * 8_000_000)
            assert connection.getresponse().status == 413


HOSTILE = {
    "nothing": b"",
    "no JSON": b"hello",
    "cut": b'{"items": [{"prompt": "q"',
    "two values": b"{} {}",
    "deep lists": b"[" * 200_000 + b"]" * 200_000,
    "deep mappings": b'{"items":' * 50_000 + b"1" + b"}" * 50_000,
    "NaN": b'{"items": [{"prompt": NaN, "completion": Infinity}]}',
    "NaN alone": b"NaN",
    "an endless number": b'{"items": ' + b"1" * 100_000 + b"}",
    "broken UTF-8": b'{"items": [{"prompt": "\xff\xfe", "completion": "c"}]}',
    "half a character": b'{"items": [{"prompt": "\\ud800", "completion": "c"}]}',
    "half a character in a key": b'{"\\ud800": 1}',
    "a list": b"[]",
    "null": b"null",
    "a text": b'"items"',
    "numbers as items": b'{"items": [' + b"0," * 500_000 + b"0]}",
    "many keys": json.dumps({f"k{i}": i for i in range(50_000)}).encode(),
    "wrong types": b'{"items": {"prompt": "q"}}',
    "a mapping as text": b'{"items": [{"prompt": {"a": 1}, "completion": []}]}',
    "true as text": b'{"items": [{"prompt": true, "completion": null}]}',
}


@pytest.mark.parametrize("path", ["/reward", "/explain", "/get_reward"])
def test_hostile_bodies_are_refused_and_harm_nothing(client_of, tricky, path):
    client = client_of(tricky)
    for name, body in HOSTILE.items():
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, name
        assert answer.json()["error"] == "invalid_request", name
        assert len(answer.content) < 5000, name
    plain = client.post(path, content=json.dumps(BODY), headers={"Content-Type": "text/plain"})
    assert plain.status_code == 422
    assert tricky.batches == []
    assert client.post("/reward", json=BODY).status_code == 200
