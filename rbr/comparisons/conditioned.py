"""Completions of the policy model, conditioned on wanted propositions (section 4.2 of the paper).

The model is told the propositions by name, and shown composed answers to other prompts that have just
these propositions. What it then samples counts if the grader confirms it; else it is asked again, up to
a limit. The propositions' own words are left to the grader: else a changed wording would change what
the policy is trained on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rbr.comparisons.compose import compose, labels_of
from rbr.comparisons.confirm import as_wanted, label_probability, said
from rbr.data.rows import Message, PolicyPrompt
from rbr.features import Array
from rbr.grading.base import Conversation, Grader
from rbr.rules import Rules

# A model that answers such a request well would be writing what no data of ours may hold: willingness
# is composed, and stops.
NEVER_ASKED = frozenset({"disallowed"})
DRAWS = 200


@dataclass(frozen=True)
class Order:
    """What is asked of the model for one prompt, and in the end its answer ('' until one is confirmed)."""

    prompt: PolicyPrompt
    label: str
    true: tuple[str, ...]
    completion: str = ""


def orders(
    prompts: Sequence[PolicyPrompt], rules: Rules, others: Sequence[PolicyPrompt], seed: int
) -> list[Order]:
    """One order a prompt and label; which propositions a label has is drawn as for composed ones."""
    draw = random.Random(f"{seed}:orders")
    return [
        Order(prompt, label, compose(prompt, label, rules, others, draw).true)
        for prompt in prompts
        for label in labels_of(rules, prompt.response_type)
        if label not in NEVER_ASKED
    ]


def shown(
    order: Order, rules: Rules, others: Sequence[PolicyPrompt], count: int, draw: random.Random
) -> list[tuple[PolicyPrompt, str]]:
    """Composed answers to other prompts of the kind, with the same propositions or nearly so."""
    near = [
        p
        for p in others
        if p.response_type == order.prompt.response_type and p.family != order.prompt.family
    ]
    drawn = [
        (prompt, compose(prompt, order.label, rules, others, draw))
        for prompt in (draw.choice(near) for _ in range(DRAWS if near else 0))
    ]
    wanted = set(order.true)
    drawn.sort(key=lambda pair: len(wanted ^ set(pair[1].true)))
    best: dict[str, tuple[PolicyPrompt, str]] = {}
    for prompt, made in drawn:
        best.setdefault(prompt.id, (prompt, made.completion))
    return list(best.values())[:count]


def asked(order: Order, examples: Sequence[tuple[PolicyPrompt, str]]) -> tuple[Message, ...]:
    """The conversation that the model answers: instructions, examples, then the prompt's own."""
    wanted = ", ".join(name.replace("_", " ") for name in order.true) or "nothing special"
    told = f"Answer the last message in this manner: {wanted}."
    system = [m.content for m in order.prompt.conversation if m.role == "system"]
    talk = [Message(role="system", content="\n".join([*system, told]))]
    for prompt, answer in examples:
        talk += [
            Message(role="user", content=prompt.conversation[-1].content),
            Message(role="assistant", content=answer),
        ]
    return (*talk, *(m for m in order.prompt.conversation if m.role != "system"))


def fulfilled(
    wanted: Sequence[Order],
    rules: Rules,
    others: Sequence[PolicyPrompt],
    sample: Callable[[Sequence[Conversation], int], list[str]],
    grader: Grader,
    attempts: int,
    examples: int,
    floor: float,
    seed: int,
) -> list[Order]:
    """Ask for each order until an answer is confirmed, at most ``attempts`` times.

    Args:
        others: prompts that examples are of.
        sample: answers n conversations; is given the number of the attempt, which draws differ by.
        floor: the least probability of the label's classes.

    Returns:
        The orders with a confirmed answer, as they were ordered.
    """
    found: dict[int, Order] = {}
    for attempt in range(attempts):
        left = [i for i in range(len(wanted)) if i not in found]
        draw = random.Random(f"{seed}:{attempt}")
        talks = [asked(wanted[i], shown(wanted[i], rules, others, examples, draw)) for i in left]
        texts = sample(talks, attempt) if talks else []
        own = [wanted[i].prompt.conversation for i in left]
        graded: Sequence[Array] = list(grader.grade(own, texts)) if texts else []
        for i, text, p in zip(left, texts, graded, strict=True):
            order = wanted[i]
            kind = order.prompt.response_type
            fits = label_probability(p, grader, rules, kind, order.label) >= floor
            if text and fits and as_wanted(order.true, said(p, grader)):
                found[i] = replace(order, completion=text)
    return [found[i] for i in sorted(found)]
