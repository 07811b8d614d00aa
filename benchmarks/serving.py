"""Answers a second of ``rbr serve``, and what bounds them: ``python benchmarks/serving.py REWARD``.

REWARD is a folder that ``rbr reward export`` wrote. Made-up completions are scored by direct calls (one at a time,
and in batches), and over loopback by clients at once; the difference is what HTTP and the queue take.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rbr.data.rows import Message
from rbr.reward import RuleBasedReward
from rbr.serve import ServeSettings, create_app
from rbr.serve.jobs import Item, score
from rbr.serve.server import Server, bind

WORDS = [
    "the",
    "lock",
    "turns",
    "when",
    "each",
    "pin",
    "is",
    "at",
    "its",
    "height",
    "and",
    "a",
    "key",
    "lifts",
    "them",
    "all",
    "at",
    "once",
]


def made_up(count: int, words: int, response_type: str) -> list[Item]:
    """Completions of half to one and a half times so many words."""
    draw = random.Random(0)
    return [
        Item(
            (
                Message(
                    role="user", content=f"Question {i}: {' '.join(draw.choices(WORDS, k=12))}?"
                ),
            ),
            " ".join(draw.choices(WORDS, k=draw.randint(words // 2, words * 3 // 2))),
            response_type,
        )
        for i in range(count)
    ]


def rate(count: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def ask(url: str, items: Sequence[Item]) -> float:
    """Seconds that a request took."""
    body = {
        "items": [
            {
                "prompt": item.conversation[0].content,
                "completion": item.completion,
                "response_type": item.response_type,
            }
            for item in items
        ]
    }
    request = urllib.request.Request(
        f"{url}/reward", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    start = time.perf_counter()
    with urllib.request.urlopen(request, timeout=600) as answer:
        assert len(json.load(answer)["rewards"]) == len(items)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reward", type=Path)
    parser.add_argument("--completions", type=int, default=256)
    parser.add_argument("--words", type=int, default=60, help="of a completion, on average")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--per-request", type=int, default=4)
    parser.add_argument("--max-batch", type=int, default=64)
    options = parser.parse_args()
    reward = RuleBasedReward.from_pretrained(options.reward)
    items = made_up(options.completions, options.words, reward.rules.response_types[0])
    score(reward, items[:8], options.max_batch)  # the first calls load and warm
    few = items[: max(8, len(items) // 8)]
    for title, some, size in (("one at a time", few, 1), ("in batches", items, options.max_batch)):
        found = rate(len(some), lambda some=some, size=size: score(reward, some, size))
        print(f"direct, {title:<14} {found:8.2f} answers/s")
    settings = ServeSettings(max_batch=options.max_batch)
    server, address = Server(create_app(reward, settings), settings), bind("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [address]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    url = f"http://127.0.0.1:{address.getsockname()[1]}"
    size = options.per_request
    requests = [items[start : start + size] for start in range(0, len(items), size)]
    times: list[float] = []
    with ThreadPoolExecutor(options.clients) as pool:
        found = rate(
            len(items), lambda: times.extend(pool.map(lambda own: ask(url, own), requests))
        )
    server.handle_exit(15, None)
    thread.join(30)
    middle, slow = statistics.median(times), sorted(times)[int(0.95 * (len(times) - 1))]
    print(f"over HTTP, {options.clients:3d} clients  {found:8.2f} answers/s")
    print(
        f"a request of {size}: {middle:.2f} s in the middle, {slow:.2f} s for the slowest twentieth"
    )


if __name__ == "__main__":
    main()
