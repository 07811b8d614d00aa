"""64 clients at once over loopback: every answer is checked, none may be wrong or missing.

``RBR_LOAD_REQUESTS`` sets how many requests each of them makes (10 by default).
"""

import asyncio
import contextlib
import os
import random
from collections import Counter

import httpx

from rbr.data.rows import Message
from rbr.serve.jobs import Item

REQUESTS = int(os.environ.get("RBR_LOAD_REQUESTS", "10"))
CLIENTS = 64
POOL = 400


def make_items(rules):
    chance = random.Random(0)
    kinds = [*rules.response_types, None]
    return [
        Item(
            (Message(role="user", content=f"prompt {i}"),),
            f"completion {i} " + "word " * chance.randrange(60),
            chance.choice(kinds),
        )
        for i in range(POOL)
    ]


def request_of(chance, items, expected, kind, count):
    """A random request: path, body, and the rewards that must come back."""
    chosen = [chance.randrange(POOL) for _ in range(count)]
    rewards = [expected[i] for i in chosen]
    texts = [(items[i].conversation[0].content, items[i]) for i in chosen]
    if kind == "get_reward":
        prompts = [f"<|im_start|>user\n{p}<|im_end|>\n<|im_start|>assistant\n" for p, _ in texts]
        body = {
            "query": [
                f"{p}{it.completion}<|im_end|>" for p, (_, it) in zip(prompts, texts, strict=True)
            ],
            "prompts": prompts,
            "labels": [it.response_type or "" for _, it in texts],
        }
        return "/get_reward", body, rewards
    rows = [
        {"prompt": p, "completion": it.completion, "response_type": it.response_type}
        for p, it in texts
    ]
    return (
        (f"/{kind}", rows[0], rewards)
        if kind == "explain"
        else ("/reward", {"items": rows}, rewards)
    )


def rewards_in(path, answer):
    if path == "/get_reward":
        return answer["rewards"]
    return [answer["reward"]] if path == "/explain" else [r["reward"] for r in answer["rewards"]]


async def answer_to(client, path, body, count):
    """The answer to a request, repeated while the queue is full."""
    while True:
        answer = await client.post(path, json=body)
        if answer.status_code != 429:
            assert answer.status_code == 200, answer.text
            return answer.json()
        count["refused"] += 1
        assert int(answer.headers["Retry-After"]) >= 1
        # Sooner than the header says, to keep the queue at its limit.
        await asyncio.sleep(0.05)


async def leave(client, path, body):
    """A request whose client does not wait for its answer."""
    with contextlib.suppress(httpx.TimeoutException):
        await client.post(path, json=body, timeout=0.005)


async def one_client(url, number, items, expected, count):
    chance = random.Random(number)
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        for n in range(REQUESTS):
            # The first alone are 1024 completions: more than the queue and a batch hold.
            kind = (
                chance.choices(["reward", "get_reward", "explain"], [6, 6, 1])[0] if n else "reward"
            )
            size = chance.choice([1, 1, 4, 16, 32]) if n else 16
            size = 1 if kind == "explain" else size
            path, body, rewards = request_of(chance, items, expected, kind, size)
            answer = await answer_to(client, path, body, count)
            count["right"] += rewards_in(path, answer) == rewards
            if chance.random() < 0.05:
                await leave(client, path, body)


def test_under_load_every_request_gets_its_answer(live, tricky, rules, direct, soon):
    items = make_items(rules)
    expected = [direct(item) for item in items]
    url, _, _ = live(tricky, max_batch=64, max_waiting=256, max_wait_ms=5)
    count: Counter[str] = Counter()
    tricky.go.clear()

    async def all_clients():
        clients = [one_client(url, i, items, expected, count) for i in range(CLIENTS)]
        running = asyncio.gather(*clients)
        while not count["refused"] and not running.done():
            await asyncio.sleep(0.01)
        tricky.go.set()
        await running

    asyncio.run(asyncio.wait_for(all_clients(), 60 + REQUESTS))
    assert count["right"] == CLIENTS * REQUESTS
    # While the model was held the queue filled up; then what waited was scored together.
    assert 32 < max(tricky.batches) <= 64

    def open_completions():
        queue = httpx.get(f"{url}/healthz").json()["queue"]
        return queue["waiting"] + queue["scoring"]

    # Those that left before their batch may still be scored.
    soon(lambda: open_completions() == 0)
