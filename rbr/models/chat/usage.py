"""What requests to chat models take: tokens and their cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass
class Usage:
    """What requests took, in tokens; it accumulates.

    Attributes:
        prompt: tokens read, ``cached`` ones among them.
        completion: tokens written, ``reasoning`` ones among them.
        requests: requests that were answered.
        retries: requests that had to be repeated.
    """

    requests: int = 0
    retries: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0

    def add(self, other: Usage) -> None:
        """Count what another one counted."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def cost(self, prices: Prices) -> float:
        """In the currency of the prices."""
        fresh = self.prompt - self.cached
        cached = prices.prompt if prices.cached is None else prices.cached
        return (
            fresh * prices.prompt + self.cached * cached + self.completion * prices.completion
        ) / 1e6

    def metrics(self, prefix: str, prices: Prices | None = None) -> dict[str, float]:
        """The counts as metrics, with the cost where prices are known."""
        found = {f"{prefix}_{name}": float(value) for name, value in asdict(self).items()}
        return found | ({f"{prefix}_cost": self.cost(prices)} if prices else {})


@dataclass(frozen=True)
class Prices:
    """Prices a million tokens; cached ones cost as others where theirs is None."""

    prompt: float
    completion: float
    cached: float | None = None


def read_usage(sent: Mapping[str, Any]) -> Usage:
    """Token counts as servers name them; 0 where one is not sent."""

    def count(*paths: str) -> int:
        for path in paths:
            value: Any = sent
            for key in path.split("."):
                value = value.get(key) if isinstance(value, Mapping) else None
            if isinstance(value, int):
                return value
        return 0

    return Usage(
        requests=1,
        prompt=count("prompt_tokens", "input_tokens"),
        cached=count(
            "prompt_tokens_details.cached_tokens",
            "prompt_cache_hit_tokens",
            "input_tokens_details.cached_tokens",
        ),
        completion=count("completion_tokens", "output_tokens"),
        reasoning=count("completion_tokens_details.reasoning_tokens", "reasoning_tokens"),
    )
