"""Completions that a model writes on request, with wanted propositions (section 4.2 of the paper).

A completion counts if it is accepted; else the model is asked again, up to a limit. Where there are
recipes, the examples are composed answers to other prompts that have just these propositions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rbr.comparisons.compose import Draft, compose, composed_only, labels_of
from rbr.comparisons.wanted import drawn_labels
from rbr.data.rows import Message, PolicyPrompt
from rbr.data.words import PIECE
from rbr.rules.rules import Rules

if TYPE_CHECKING:
    from rbr.comparisons.writers import Writer

DRAWS = 200
# Of a disallowed completion no more is kept than shows what it sets out to do.
FRAME_WORDS = 25

# Prompts with their answers.
Examples = Sequence[tuple[PolicyPrompt, str]]
Accept = Callable[[Sequence[Draft], Sequence[str]], list[bool]]


def requests(
    prompts: Sequence[PolicyPrompt], rules: Rules, others: Sequence[PolicyPrompt], seed: int
) -> list[Draft]:
    """What a model should write: a draft per prompt and label, with propositions of a composed one.

    Not of what is disallowed: that is composed.
    """
    draw = random.Random(f"{seed}:orders")
    return [
        replace(compose(prompt, label, rules, others, draw), completion="", source="generated")
        for prompt in prompts
        for label in labels_of(rules, prompt.response_type)
        if not composed_only(rules, prompt.response_type, label)
    ]


def requests_without_recipes(
    prompts: Sequence[PolicyPrompt], rules: Rules, bad_per_prompt: int, seed: int
) -> list[Draft]:
    """The same for prompts of response types that have no recipes: all labels, see ``drawn_labels``.

    Raises:
        RuleError: if nothing makes a completion of a label.
    """
    sets = {name: drawn_labels(rules, name, seed) for name in {p.response_type for p in prompts}}
    drafts = []
    for place, prompt in enumerate(prompts):
        for label, some in sets[prompt.response_type].items():
            count = bad_per_prompt if label in rules.completions.several else 1
            for i in range(count):
                true = some[(place * count + i) % len(some)]
                drafts.append(Draft(prompt, label, true, source="generated"))
    return drafts


def few_shot(
    request: Draft,
    rules: Rules,
    others: Sequence[PolicyPrompt],
    count: int,
    draw: random.Random,
) -> Examples:
    """Composed answers to other prompts of the response type, with nearly the wanted propositions."""
    prompt = request.prompt
    if request.label not in labels_of(rules, prompt.response_type):
        return []
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


def request_conversation(request: Draft, examples: Examples) -> tuple[Message, ...]:
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
    writer: Writer,
    accept: Accept,
    attempts: int,
    examples: int,
    seed: int,
) -> list[Draft]:
    """Ask until each request has an accepted completion, at most ``attempts`` times.

    Args:
        others: prompts that examples are drawn from.
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
        texts = writer.write(
            [writer.conversation(r, few_shot(r, rules, others, examples, draw)) for r in asked],
            attempt,
        )
        texts = [kept(text, request, rules) for text, request in zip(texts, asked, strict=True)]
        for i, text, accepted in zip(open_, texts, accept(asked, texts), strict=True):
            if text and accepted:
                met[i] = replace(requests[i], completion=text)
    return [met[i] for i in sorted(met)]


def kept(text: str, request: Draft, rules: Rules) -> str:
    """The completion; of one that is to be disallowed the first words: nothing operational is kept."""
    if not rules.means("disallowed", request.true):
        return text
    # By characters where there are no spaces, even in a text that is mostly of another script.
    words = [*PIECE.finditer(text)][:FRAME_WORDS]
    return " ".join(text[: words[-1].end()].split()) if words else ""
