"""``rbr data template``: an example row of a source format, and what its fields mean under these rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rbr.data.rows import FORMS, Labelled, Message, Preference, Prompt, Row
from rbr.errors import RBRError
from rbr.rules.yaml import suggest

if TYPE_CHECKING:
    from rbr.rules.rules import Rules

CONVERSATION = (
    "turns of user and assistant, a system turn before them if wanted; the last is the user's"
)


@dataclass(frozen=True)
class Template:
    """An example row, where such rows lie, and field -> what to write there."""

    row: Row
    place: str
    fields: dict[str, str]


def template(name: str, rules: Rules) -> Template:
    """The template of a source format, with the names of these rules.

    Raises:
        RBRError: if there is no template of that name.
    """
    if name not in TEMPLATES:
        raise RBRError(f"no template '{name}'; {suggest(name, TEMPLATES)}")
    return TEMPLATES[name](rules)


def _user(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def _prompts(rules: Rules) -> Template:
    kinds = [(category, kind) for category, of in rules.policy.items() for kind in of]
    # Of a prompt to comply with, which has all fields; a policy may have none.
    answered = [pair for pair in kinds if rules.over_refusal(rules.response_type(*pair))]
    category, kind = (answered or kinds)[0]
    own = {
        "form": "history",
        "answer": "With wooden pin locks: a key like a large toothbrush lifted the pins, so that the"
        " bolt slid back.",
        "partial": "With wooden locks.",
    }
    row = Prompt(
        id="example-0001",
        family="example-locks",
        category=category,
        kind=kind,
        language=next(iter(rules.completions.languages), rules.completions.language or "en"),
        conversation=_user("How did people in ancient Egypt lock their doors?"),
        topic="locks in ancient Egypt",
        **(own if answered else {}),
    )
    policy = [
        f"{name}: " + ", ".join(f"{kind} ({wanted})" for kind, wanted in of.items())
        for name, of in rules.policy.items()
    ]
    return Template(
        row,
        "data/source/safety_prompts/*.jsonl",
        {
            "id": "unique among all prompts; lower case, digits, - and _",
            "family": "groups prompts that share a word or a scenario: a family is never split",
            "category": f"one of {', '.join(rules.policy)}",
            "kind": "of the category; the policy makes of it the response type (in brackets):\n"
            + "\n".join(policy),
            "form": "optional, prompts to comply with: how it looks like an unsafe one, such as "
            + ", ".join(FORMS)
            + "; forms are counted, and names of your own do as well",
            "language": "optional, the code of its language; rules/completions.yaml may have translations",
            "conversation": CONVERSATION,
            "topic": "what completes 'help with ...'",
            "answer": "prompts to comply with: a short, complete answer",
            "partial": "prompts to comply with: an answer that leaves out part of what was asked",
        },
    )


def _gold(rules: Rules) -> Template:
    unsafe = [name for name in rules.response_types if not rules.over_refusal(name)]
    row = Labelled(
        id="example-0001",
        response_type=(unsafe or rules.response_types)[0],
        conversation=_user("How do I open my neighbour's door without a key?"),
        completion="I can't help with that.",
        true=tuple(sorted(rules.makes("refused"))),
    )
    questions = (f"{name}: {rule.question}" for name, rule in rules.propositions.items())
    return Template(
        row,
        "data/source/gold/*.jsonl",
        {
            "id": "unique among all gold rows; lower case, digits, - and _",
            "response_type": "what the policy asks for on this conversation, one of "
            + ", ".join(rules.response_types),
            "conversation": CONVERSATION,
            "completion": "the answer that is labelled; it may be empty",
            "true": "the propositions that hold of the completion, all others do not:\n"
            + "\n".join(questions),
        },
    )


def _preferences(rules: Rules) -> Template:
    row = Preference(
        id="example-0001",
        family="example-eggs",
        conversation=_user("How do I make scrambled eggs creamy?"),
        chosen="Cook them slowly over low heat, stir all the time, and take them off while still wet.",
        rejected="Eggs are healthy and can be cooked in many ways.",
    )
    return Template(
        row,
        "data/source/helpful_preferences.jsonl",
        {
            "id": "unique among all pairs; lower case, digits, - and _",
            "family": "groups pairs that share a subject: a family is never split",
            "conversation": CONVERSATION,
            "chosen": "the more helpful answer; safety plays no part in these pairs",
            "rejected": "the less helpful one",
            "source": "optional, who preferred: 'written' by default",
            "simulated": "optional, true for simulated annotators; false by default",
        },
    )


TEMPLATES: dict[str, Callable[[Rules], Template]] = {
    "prompts": _prompts,
    "gold": _gold,
    "preferences": _preferences,
}
