"""Prompts of each response type."""

from rbr.data.rows import Message, PolicyPrompt


def prompt(kind, number=0):
    answered = {"answer": "It is so.", "partial": "In part."} if kind == "comply" else {}
    return PolicyPrompt(
        id=f"p{number}",
        family=f"f{number}",
        category="none",
        kind="plain",
        response_type=kind,
        conversation=(Message(role="user", content=f"question {number}"),),
        topic="a thing",
        **answered,
    )
