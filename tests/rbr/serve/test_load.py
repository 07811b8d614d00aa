"""64 clients at once over loopback: every answer is checked, none may be wrong or lost.

``RBR_LOAD_SECONDS`` says for how long (5 by default; the acceptance run was 60).
"""

import asyncio
import os
import random
import time
from collections import Counter

import httpx

from rbr.data.rows import Message
from rbr.serve.jobs import Item

SECONDS = float(os.environ.get("RBR_LOAD_SECONDS", "5"))
CLIENTS = 64
POOL = 400


class Slow:
    """A reward that takes its time, as models do: per call and per completion."""

    def __init__(self, reward):
        self.rules = reward.rules
        self.reward = reward
        self.batches = []
        self.explain = reward.explain

    def parts(self, conversations, completions, response_types):
        self.batches.append(len(completions))
        time.sleep(0.004 + 0.0002 * len(completions))
        return self.reward.parts(conversations, completions, response_types)


def made_items(rules):
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


def request_of(chance, items, right):
    """A random request: path, body, and what must come back."""
    kind = chance.choices(["reward", "get_reward", "explain"], [6, 6, 1])[0]
    count = 1 if kind == "explain" else chance.choice([1, 1, 4, 16, 32])
    chosen = [chance.randrange(POOL) for _ in range(count)]
    wanted = [right[i] for i in chosen]
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
        return "/get_reward", body, wanted
    own = [
        {"prompt": p, "completion": it.completion, "response_type": it.response_type}
        for p, it in texts
    ]
    return (
        (f"/{kind}", own[0], wanted) if kind == "explain" else ("/reward", {"items": own}, wanted)
    )


def rewards_in(path, answer):
    if path == "/get_reward":
        return answer["rewards"]
    return [answer["reward"]] if path == "/explain" else [r["reward"] for r in answer["rewards"]]


async def one_client(url, number, items, right, until, count):
    chance = random.Random(number)
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        while time.monotonic() < until:
            path, body, wanted = request_of(chance, items, right)
            if chance.random() < 0.02:
                # A client that does not wait for its answer.
                count["left"] += 1
                try:
                    await client.post(path, json=body, timeout=0.005)
                except httpx.TimeoutException:
                    continue
                continue
            while True:
                count["requests"] += 1
                try:
                    answer = await client.post(path, json=body)
                except httpx.HTTPError as error:
                    count[f"lost: {error!r}"] += 1
                    break
                if answer.status_code == 429:
                    count["429"] += 1
                    assert int(answer.headers["Retry-After"]) >= 1
                    # Sooner than told, to keep the queue at its limit.
                    await asyncio.sleep(0.05 * chance.random())
                    continue
                if answer.status_code != 200:
                    count[f"lost: {answer.status_code} {answer.text}"] += 1
                    break
                count["answers"] += 1
                count["rewards"] += len(wanted)
                count["wrong"] += rewards_in(path, answer.json()) != wanted
                break


def test_under_load_no_answer_is_wrong_and_none_is_lost(live, reward, rules, direct):
    items = made_items(rules)
    right = [direct(item) for item in items]
    slow = Slow(reward)
    url, _, _ = live(slow, max_batch=64, max_waiting=256, max_wait_ms=5)
    count: Counter[str] = Counter()

    async def all_clients():
        until = time.monotonic() + SECONDS
        await asyncio.gather(
            *(one_client(url, i, items, right, until, count) for i in range(CLIENTS))
        )

    asyncio.run(all_clients())
    mean = sum(slow.batches) / len(slow.batches)
    print(f"\n{SECONDS:.0f} s, {CLIENTS} clients, mean batch {mean:.1f}: {dict(count)}")
    assert {name: n for name, n in count.items() if name.startswith("lost")} == {}
    assert count["wrong"] == 0
    assert count["answers"] + count["429"] == count["requests"]
    assert count["answers"] > 0
    assert count["429"] > 0
    # What waits is scored together.
    assert max(slow.batches) > 16
    assert max(slow.batches) <= 64
    queue = httpx.get(f"{url}/healthz").json()["queue"]
    assert (queue["waiting"], queue["scoring"]) == (0, 0)
