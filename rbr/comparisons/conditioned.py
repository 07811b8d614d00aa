"""Completions of the policy model, conditioned on wanted propositions (section 4.2 of the paper).

The instructions name the propositions, and the examples are composed answers to other prompts that have
just these propositions. A sampled completion counts if it is accepted; else the model is asked again, up
to a limit. The propositions' own wording is left to the grader: else an edit of it would change what the
policy is trained on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from rbr.comparisons.compose import Draft, compose, composed_only, labels_of
from rbr.data.rows import Conversation, Message, PolicyPrompt
from rbr.rules.rules import Rules

DRAWS = 200


Accept = Callable[[Sequence[Draft], Sequence[str]], list[bool]]


def requests(
    prompts: Sequence[PolicyPrompt], rules: Rules, others: Sequence[PolicyPrompt], seed: int
) -> list[Draft]:
    """What a model should write: a draft per prompt and label, with propositions of a composed one."""
    draw = random.Random(f"{seed}:orders")
    return [
        replace(compose(prompt, label, rules, others, draw), completion="", source="generated")
        for prompt in prompts
        for label in labels_of(rules, prompt.response_type)
        if not composed_only(rules, prompt.response_type, label)
    ]


def few_shot(
    request: Draft,
    rules: Rules,
    others: Sequence[PolicyPrompt],
    count: int,
    draw: random.Random,
) -> list[tuple[PolicyPrompt, str]]:
    """Composed answers to other prompts of the response type, with nearly the wanted propositions."""
    prompt = request.prompt
    alike = [
        p for p in others if p.response_type == prompt.response_type and p.family != prompt.family
    ]
    drawn = [
        (example, compose(example, request.label, rules, others, draw))
        for example in (draw.choice(alike) for _ in range(DRAWS if alike else 0))
    ]
    drawn.sort(key=lambda pair: len(set(request.true) ^ set(pair[1].true)))
    nearest: dict[str, tuple[PolicyPrompt, str]] = {}
    for example, composed in drawn:
        nearest.setdefault(example.id, (example, composed.completion))
    return list(nearest.values())[:count]


def request_conversation(
    request: Draft, examples: Sequence[tuple[PolicyPrompt, str]]
) -> tuple[Message, ...]:
    """The conversation that the model answers: instructions, examples, then the prompt's own turns."""
    wanted = ", ".join(name.replace("_", " ") for name in request.true) or "nothing special"
    conversation = request.prompt.conversation
    system = [m.content for m in conversation if m.role == "system"]
    system.append(f"Answer the last message in this manner: {wanted}.")
    turns = [Message(role="system", content="\n".join(system))]
    for prompt, answer in examples:
        turns += [
            Message(role="user", content=prompt.conversation[-1].content),
            Message(role="assistant", content=answer),
        ]
    return (*turns, *(m for m in conversation if m.role != "system"))


def rejection_sample(
    requests: Sequence[Draft],
    rules: Rules,
    others: Sequence[PolicyPrompt],
    sample: Callable[[Sequence[Conversation], int], list[str]],
    accept: Accept,
    attempts: int,
    examples: int,
    seed: int,
) -> list[Draft]:
    """Sample until each request has an accepted completion, at most ``attempts`` times.

    Args:
        others: prompts that examples are drawn from.
        sample: answers n conversations; its second argument is the attempt, which draws differ by.
        accept: whether each completion is what its request asks for.
        examples: few-shot examples per request.

    Returns:
        The requests with an accepted completion, in their order.
    """
    met: dict[int, Draft] = {}
    for attempt in range(attempts):
        open_ = [i for i in range(len(requests)) if i not in met]
        if not open_:
            break
        draw = random.Random(f"{seed}:{attempt}")
        asked = [requests[i] for i in open_]
        texts = sample(
            [request_conversation(r, few_shot(r, rules, others, examples, draw)) for r in asked],
            attempt,
        )
        for i, text, accepted in zip(open_, texts, accept(asked, texts), strict=True):
            if text and accepted:
                met[i] = replace(requests[i], completion=text)
    return [met[i] for i in sorted(met)]
