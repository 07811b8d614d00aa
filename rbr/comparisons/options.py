"""Options of comparisons that a chat model writes."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from rbr.grading.options import PriceOptions
from rbr.models.chat import Prices, Usage
from rbr.options import Options


class ChatWriterOptions(Options):
    """The chat model that writes comparisons; its key is the environment's RBR_COMPARISONS_KEY.

    ``request`` has further parameters of every request, as they are (``chat_template_kwargs``; for a model
    that reasons a larger ``max_tokens``). With prices the cost is stated.
    """

    address: str | tuple[str, ...] = Field(description="base URL (…/v1), or several")
    served_name: str = Field(description="the model's name on the server")
    concurrency: int = Field(32, gt=0)
    timeout: float = Field(120.0, gt=0, description="seconds a request")
    retries: int = Field(4, ge=0)
    request: dict[str, Any] = Field({}, description="further parameters of every request")
    prices: PriceOptions | None = None

    def cost(self, usage: Usage) -> float | None:
        """None without prices."""
        return usage.cost(Prices(**self.prices.model_dump())) if self.prices else None
