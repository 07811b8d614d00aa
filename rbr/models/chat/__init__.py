"""Chat models behind OpenAI-compatible servers."""

from rbr.models.chat.answer import ChatAnswer, TokenLogprob
from rbr.models.chat.client import ChatClient, ChatSession
from rbr.models.chat.features import ChatMessages, Feature, json_schema, token_logprobs
from rbr.models.chat.usage import Prices, Usage

__all__ = [
    "ChatAnswer",
    "ChatClient",
    "ChatMessages",
    "ChatSession",
    "Feature",
    "Prices",
    "TokenLogprob",
    "Usage",
    "json_schema",
    "token_logprobs",
]
