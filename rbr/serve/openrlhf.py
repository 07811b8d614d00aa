"""OpenRLHF's remote-reward format: texts with a chat template's tokens in them.

Its client (version 0.11, ``SingleTurnAgentExecutor``) sends the prompt after the chat template and the
decoded tokens of prompt and answer, special tokens kept. Here the prompt is parsed back into turns; the
completion is what follows it.
"""

from __future__ import annotations

import re

from rbr.data.rows import Message
from rbr.serve.errors import Detail, ServeError
from rbr.serve.formats import OpenRLHFRequest
from rbr.serve.jobs import Item

TURN = re.compile(r"<\|im_start\|>(system|user|assistant)\n(.*?)<\|im_end\|>\n?", re.DOTALL)
GENERATION_PROMPT = "<|im_start|>assistant\n"
# The ends of a generation (of a turn or of a text; padding is the same token), in a reversed text: a
# pattern at the end of a text would take quadratic time on an answer of nothing but ends.
REVERSED_ENDS = re.compile(r"(?:\s*+(?:>\|dne_mi\|<|>\|txetfodne\|<))*")
# How prompts of other templates begin. Graded as a user's words they would get a wrong reward.
FOREIGN = re.compile(r"\s*(?:<\|[a-z_]+\|>|<s>|<bos>|\[INST\]|<start_of_turn>|<｜)")


def conversation_of(prompt: str) -> tuple[Message, ...]:
    """Turns of a prompt: in ChatML up to where the answer begins, or plain text as one user turn.

    Raises:
        ValueError: on another template, or ChatML that does not end with a user turn and the head of
            an answer.
    """
    if not prompt.startswith("<|im_start|>"):
        if FOREIGN.match(prompt):
            raise ValueError("begins with a token of a chat template that is not ChatML")
        return (Message(role="user", content=prompt),)
    turns: list[Message] = []
    position = 0
    while turn := TURN.match(prompt, position):
        turns.append(Message.model_validate({"role": turn[1], "content": turn[2]}))
        position = turn.end()
    if prompt[position:] != GENERATION_PROMPT or not turns or turns[-1].role != "user":
        raise ValueError("is ChatML that does not end with a user turn and '<|im_start|>assistant'")
    return tuple(turns)


def completion_of(query: str, prompt: str) -> str:
    """The answer: what follows the prompt, without the end tokens at its end.

    Raises:
        ValueError: if the query does not begin with the prompt.
    """
    if not query.startswith(prompt):
        raise ValueError(
            "does not begin with its prompt: was the prompt cut for length, or does the tokenizer"
            " change texts?"
        )
    answer = query[len(prompt) :]
    ends = REVERSED_ENDS.match(answer[::-1])
    return answer[: len(answer) - ends.end()] if ends else answer


def items_of(request: OpenRLHFRequest) -> list[Item]:
    """The completions of a request.

    Raises:
        ServeError: 422, naming each entry that cannot be read.
    """
    n = len(request.query)
    labels = request.labels if request.labels is not None else [None] * n
    if len(request.prompts) != n or len(labels) != n:
        message = (
            f"{n} query, {len(request.prompts)} prompts, {len(labels)} labels: give as many of each"
        )
        raise ServeError(422, "invalid_request", message)
    items, details = [], []
    for i, (query, prompt, label) in enumerate(
        zip(request.query, request.prompts, labels, strict=True)
    ):
        field = "prompts"
        try:
            conversation = conversation_of(prompt)
            field = "query"
            items.append(Item(conversation, completion_of(query, prompt), label or None))
        except ValueError as error:
            details.append(Detail(where=f"{field}.{i}", message=str(error)))
    if details:
        raise ServeError(422, "invalid_request", "texts that cannot be read; see details", details)
    return items
