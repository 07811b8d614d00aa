"""What supervised fine-tuning learns from: mostly the base model's own answers, the good ones of them.

To learn what it says anyway leaves a model's language alone. Answers that others wrote teach it their
length and their words, and greedy ones of its own to be sure of everything: its loss on any other text
rises then.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rbr.comparisons.compose import Draft, compose, labels_of
from rbr.comparisons.conditioned import rejection_sample
from rbr.data.rows import Conversation, Demonstration, HelpfulPrompt, PolicyPrompt

if TYPE_CHECKING:
    from rbr.data.rows import Preference
    from rbr.models.generate import Answer
    from rbr.rules.rules import Rules
    from rbr.training.options import DemonstrationOptions, SFTOptions

Example = tuple[Conversation, str]
# Answers n conversations; the second argument says which draw it is.
Sample = Callable[[Sequence[Conversation], int], "list[Answer]"]
# Whether each completion is of the best class of its prompt's response type.
Ideal = Callable[[Sequence[PolicyPrompt], Sequence[str]], list[bool]]


def own_answers(
    prompts: Sequence[PolicyPrompt] | Sequence[HelpfulPrompt],
    sample: Sample,
    options: DemonstrationOptions,
    ideal: Ideal | None = None,
) -> list[Demonstration]:
    """Answers that the model gives by itself: those that end, are ideal and differ, prompt by prompt.

    Args:
        ideal: of prompts of the policy; None accepts all.
    """
    asked = [prompt for prompt in prompts for _ in range(options.samples)]
    answers = sample([prompt.conversation for prompt in asked], 0)
    whole = [
        (prompt, answer.text)
        for prompt, answer in zip(asked, answers, strict=True)
        if answer.text and (answer.ended or not options.whole)
    ]
    accepted = [True] * len(whole)
    if ideal and whole:
        accepted = ideal([prompt for prompt, _ in whole], [text for _, text in whole])  # type: ignore[misc]
    kept = {
        (prompt.id, text): (prompt, text)
        for (prompt, text), good in zip(whole, accepted, strict=True)
        if good
    }
    return [demonstration(prompt, text, "sampled") for prompt, text in kept.values()]


def own_refusals(
    prompts: Sequence[PolicyPrompt],
    rules: Rules,
    others: Sequence[PolicyPrompt],
    sample: Sample,
    ideal: Ideal,
    options: DemonstrationOptions,
    seed: int,
) -> list[Demonstration]:
    """One ideal answer to each prompt to be refused: the model's own, told how, where it can be made to.

    Where no attempt is ideal, it is composed of fragments; a prompt of a type for which the policy has no
    fragments is left out then.

    Args:
        others: prompts that examples are drawn from.
    """
    best, draw = rules.best_labels(), random.Random(f"{seed}:refusals")

    def composed(prompt: PolicyPrompt) -> Draft | None:
        labels = set(labels_of(rules, prompt.response_type)) & set(best[prompt.response_type])
        if not labels:
            return None
        return compose(prompt, draw.choice(sorted(labels)), rules, others, draw)

    drafts = [draft for draft in map(composed, prompts) if draft]

    def answer(conversations: Sequence[Conversation], attempt: int) -> list[str]:
        answers = sample(conversations, attempt)
        return [a.text if a.ended or not options.whole else "" for a in answers]

    def accept(asked: Sequence[Draft], texts: Sequence[str]) -> list[bool]:
        return ideal([draft.prompt for draft in asked], texts)

    met = rejection_sample(
        drafts, rules, others, answer, accept, options.attempts, options.examples, seed
    )
    own = {draft.prompt.id: draft for draft in met}
    return [
        demonstration(draft.prompt, own[draft.prompt.id].completion, "conditioned")
        if draft.prompt.id in own
        else demonstration(draft.prompt, draft.completion, "composed")
        for draft in drafts
    ]


def demonstration(
    prompt: PolicyPrompt | HelpfulPrompt, completion: str, source: str
) -> Demonstration:
    """A row of these."""
    return Demonstration(
        prompt_id=prompt.id,
        response_type=getattr(prompt, "response_type", None),
        over_refusal=getattr(prompt, "over_refusal", True),
        conversation=prompt.conversation,
        completion=completion,
        source=source,  # type: ignore[arg-type]
    )


def demonstrations(
    helpful: Sequence[Demonstration],
    human: Sequence[Preference] | None,
    safety: Sequence[Demonstration] | None,
    options: SFTOptions,
    seed: int,
) -> list[Example]:
    """Answers to helpful prompts, and beside them answers to safety prompts, shuffled.

    Args:
        human: pairs whose preferred completions are learnt; None for none.
        safety: ideal answers, of which answers to prompts to comply with are ``options.comply_share``.
            Refusals are drawn evenly over response types: soft ones open in more ways than hard ones, and
            are rarer.
    """
    draw = random.Random(seed)
    chosen = one_each(helpful, options.helpful_demos, draw)
    if human is not None:
        preferred = [(row.conversation, row.chosen) for row in human]
        chosen += draw.sample(preferred, min(options.safety_demos, len(preferred)))
    elif safety is not None:
        complied = [row for row in safety if row.over_refusal]
        refused: dict[str | None, list[Example]] = defaultdict(list)
        for row in safety:
            if not row.over_refusal:
                refused[row.response_type].append((row.conversation, row.completion))
        answers, refusals = answers_and_refusals(options, len(complied))
        chosen += one_each(complied, answers, draw)
        chosen += evenly(list(refused.values()), refusals, draw)
    draw.shuffle(chosen)
    return chosen


def answers_and_refusals(options: SFTOptions, available: int) -> tuple[int, int]:
    """How many answers and refusals are learnt: fewer of both where answers run out."""
    answers = round(options.safety_demos * options.comply_share)
    refusals = options.safety_demos - answers
    if available < answers:
        return available, round(refusals * available / answers)
    return answers, refusals


def one_each(rows: Sequence[Demonstration], count: int, draw: random.Random) -> list[Example]:
    """At most ``count`` rows, drawn without replacement: no prompt's second before each has its first."""
    shuffled = draw.sample(rows, len(rows))
    seen: dict[str, int] = defaultdict(int)
    order = []
    for row in shuffled:
        order.append((seen[row.prompt_id], row))
        seen[row.prompt_id] += 1
    order.sort(key=lambda pair: pair[0])
    return [(row.conversation, row.completion) for _, row in order[:count]]


def evenly(groups: Sequence[Sequence[Example]], count: int, draw: random.Random) -> list[Example]:
    """``count`` rows, equally many of each group: a small group's repeatedly; none without groups."""
    chosen: list[Example] = []
    for place, rows in enumerate(groups):
        wanted = count * (place + 1) // len(groups) - count * place // len(groups)
        whole, rest = divmod(wanted, len(rows))
        chosen += [*list(rows) * whole, *draw.sample(list(rows), rest)]
    return chosen
