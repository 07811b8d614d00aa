"""OpenRLHF's remote-reward format: texts with a chat template's tokens in them.

Its client (version 0.11, ``SingleTurnAgentExecutor``) sends the prompt after the chat template and the
decoded tokens of prompt and answer, special tokens kept. Here the prompt is parsed back into turns; the
completion is what follows it.
"""

from __future__ import annotations

from rbr.models.chat_templates import PlainText
from rbr.serve.errors import Detail, ServeError
from rbr.serve.formats import OpenRLHFRequest
from rbr.serve.jobs import Item


def items_of(request: OpenRLHFRequest, template: PlainText) -> list[Item]:
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
    rows = zip(request.query, request.prompts, labels, strict=True)
    for i, (query, prompt, label) in enumerate(rows):
        try:
            conversation = template.turns(prompt)
        except ValueError as error:
            details.append(Detail(where=f"prompts.{i}", message=str(error)))
            continue
        if query.startswith(prompt):
            answer = template.answer(query[len(prompt) :], prompt)
            items.append(Item(conversation, answer, label or None))
        else:
            message = "does not begin with its prompt: was that cut, or are texts changed?"
            details.append(Detail(where=f"query.{i}", message=message))
    if details:
        raise ServeError(422, "invalid_request", "texts that cannot be read; see details", details)
    return items
