"""Models: fetching, loading, and running a part of one."""

from rbr.models.fetch import EMBEDDED, fetch
from rbr.models.load import (
    chat_texts,
    load_causal,
    load_encoder,
    load_tokenizer,
    messages,
    prompt_text,
)

__all__ = [
    "EMBEDDED",
    "chat_texts",
    "fetch",
    "load_causal",
    "load_encoder",
    "load_tokenizer",
    "messages",
    "prompt_text",
]
