"""OpenRLHF's remote-reward format: texts with a chat template's tokens in them.

Its client (version 0.11, ``SingleTurnAgentExecutor``) sends the prompt after the chat template and the
decoded tokens of prompt and answer, special tokens kept. Here the prompt is read back into turns and the
answer is what follows it.
"""

from __future__ import annotations

import re

from rbr.data.rows import Message
from rbr.serve.errors import Detail, ServeError
from rbr.serve.formats import OpenRLHFRequest
from rbr.serve.jobs import Item

TURN = re.compile(r"<\|im_start\|>(system|user|assistant)\n(.*?)<\|im_end\|>\n?", re.DOTALL)
ANSWER = "<|im_start|>assistant\n"
# What a generation ends with: the end of a turn or of a text, and padding, which is the same token.
ENDS = ("<|im_end|>", "<|endoftext|>")
# How prompts of other templates begin. Graded as a user's words they would get a reward that is wrong.
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
    at = 0
    while found := TURN.match(prompt, at):
        turns.append(Message.model_validate({"role": found[1], "content": found[2]}))
        at = found.end()
    if prompt[at:] != ANSWER or not turns or turns[-1].role != "user":
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
    start, kept, at = len(prompt), len(query), len(query)
    # From the back, by positions: a pattern would take quadratic time on an answer of nothing but ends.
    while True:
        while at > start and query[at - 1].isspace():
            at -= 1
        found = next((end for end in ENDS if query.endswith(end, start, at)), None)
        if found is None:
            return query[start:kept]
        kept = at = at - len(found)


def items_of(request: OpenRLHFRequest) -> list[Item]:
    """A request's completions.

    Raises:
        ServeError: 422, naming each entry that cannot be read.
    """
    n = len(request.query)
    labels = request.labels if request.labels is not None else [None] * n
    if len(request.prompts) != n or len(labels) != n:
        what = (
            f"{n} query, {len(request.prompts)} prompts, {len(labels)} labels: give as many of each"
        )
        raise ServeError(422, "invalid_request", what)
    items, details = [], []
    for i, (query, prompt, label) in enumerate(
        zip(request.query, request.prompts, labels, strict=True)
    ):
        name = "prompts"
        try:
            talk = conversation_of(prompt)
            name = "query"
            items.append(Item(talk, completion_of(query, prompt), label or None))
        except ValueError as error:
            details.append(Detail(where=f"{name}.{i}", message=str(error)))
    if details:
        raise ServeError(422, "invalid_request", "texts that cannot be read; see details", details)
    return items
