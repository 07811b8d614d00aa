"""A model's size, from the numbers in its ``config.json``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """A transformer's shape, in Transformers' names; other keys of a configuration are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    vocab_size: int = Field(gt=0)
    tie_word_embeddings: bool = True
    hidden_act: str = "silu"

    @property
    def _head(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def layer(self) -> int:
        """Parameters of one layer's matrices; norms and biases are below a thousandth of it."""
        heads, shared = self.num_attention_heads, self.num_key_value_heads
        attention = self.hidden_size * self._head * (2 * heads + 2 * (shared or heads))
        # A gated feed-forward network (SwiGLU) has three matrices, a plain one two.
        matrices = 3 if self.hidden_act == "silu" else 2
        return attention + matrices * self.hidden_size * self.intermediate_size

    @property
    def head(self) -> int:
        """Parameters of the language-model head."""
        return self.hidden_size * self.vocab_size

    @property
    def parameters(self) -> int:
        """All parameters, but for norms and biases."""
        tables = 1 if self.tie_word_embeddings else 2
        return self.num_hidden_layers * self.layer + tables * self.head

    def cache_bytes(self, number: int) -> int:
        """Bytes of the key/value cache a token.

        Args:
            number: bytes of one number.
        """
        shared = self.num_key_value_heads or self.num_attention_heads
        return 2 * self.num_hidden_layers * shared * self._head * number


def shape_of(config: dict[str, Any]) -> Shape:
    """The shape that a configuration states.

    Raises:
        pydantic.ValidationError: if a number is missing.
    """
    return Shape.model_validate(config)
