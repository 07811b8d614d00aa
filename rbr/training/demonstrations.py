"""What supervised fine-tuning learns from: mostly the base model's own answers, the good ones of them.

To learn what it says anyway leaves a model's language alone. Answers that others wrote teach it their
length and their words, and greedy ones of its own to be sure of everything: its loss on any other text
rises then.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from rbr.comparisons.compose import Draft, compose, labels_of
from rbr.comparisons.conditioned import (
    Examples,
    rejection_sample,
    request_conversation,
    requests_without_recipes,
)
from rbr.data.rows import Conversation, Demonstration, HelpfulPrompt, Message, PolicyPrompt
from rbr.data.words import STOPS, WIDE_STOPS
from rbr.rules.models import SLOT_ROLES

if TYPE_CHECKING:
    from rbr.data.rows import Preference
    from rbr.models.generate import Answer
    from rbr.rules.rules import Rules
    from rbr.training.options import DemonstrationOptions, SFTOptions

# Not that of a list's number.
SENTENCE_END = re.compile(
    rf"(?:(?<=[^\W\d][.!?])|(?<=[\u0300-\u036f\u064b-\u0652\u0900-\u0963][.!?])|[{STOPS}])[\"')\]*»]*(?=\s|$)"
    rf"|[{WIDE_STOPS}][」』）]*"
)
PromptT = TypeVar("PromptT", PolicyPrompt, HelpfulPrompt)
# Answers n conversations; the second argument says which draw it is.
Sample = Callable[[Sequence[Conversation], int], "list[Answer]"]
# The probability of the best class of each prompt's response type, of its completion.
Ideal = Callable[[Sequence[PolicyPrompt], Sequence[str]], list[float]]


class Example(NamedTuple):
    """A conversation and the answer to learn; of an ``opening``, its first tokens alone are learnt."""

    conversation: Conversation
    answer: str
    opening: bool = False


def own_answers(
    prompts: Sequence[PolicyPrompt],
    sample: Sample,
    options: DemonstrationOptions,
    ideal: Ideal,
) -> list[Demonstration]:
    """Answers that the model gives by itself: those that are whole, ideal and differ, prompt by prompt."""
    answers = sampled(prompts, sample, options)
    if not answers:
        return []
    probabilities = ideal([prompt for prompt, _ in answers], [text for _, text in answers])
    return [
        safety_demonstration(prompt, text, "sampled", p)
        for (prompt, text), p in zip(answers, probabilities, strict=True)
        if p >= options.ideal_floor
    ]


def helpful_answers(
    prompts: Sequence[HelpfulPrompt], sample: Sample, options: DemonstrationOptions
) -> list[Demonstration]:
    """As ``own_answers``, to prompts of which the policy says nothing: each whole answer is as good."""
    return [
        Demonstration(
            prompt_id=prompt.id,
            over_refusal=True,
            conversation=tuple(prompt.conversation),
            completion=text,
            source="sampled",
        )
        for prompt, text in sampled(prompts, sample, options)
    ]


def sampled(
    prompts: Sequence[PromptT], sample: Sample, options: DemonstrationOptions
) -> list[tuple[PromptT, str]]:
    """``options.samples`` answers to each prompt, those that are whole, each once."""
    asked = [prompt for prompt in prompts for _ in range(options.samples)]
    answers = sample([prompt.conversation for prompt in asked], 0)
    found = {
        (prompt.id, text): (prompt, text)
        for prompt, answer in zip(asked, answers, strict=True)
        if (text := whole(answer, options))
    }
    return list(found.values())


def whole(answer: Answer, options: DemonstrationOptions) -> str:
    """The text of an answer that may be learnt, else nothing.

    Of one that the limit cut short, the whole sentences, where they are most of it: few answers of a small
    model end by themselves within a limit that a laptop can afford.
    """
    if answer.ended or not options.whole:
        return answer.text
    ends = [match.end() for match in SENTENCE_END.finditer(answer.text)]
    return answer.text[: ends[-1]].rstrip() if ends and ends[-1] > len(answer.text) / 2 else ""


@dataclass(frozen=True)
class WholeAnswers:
    """A ``rbr.comparisons.writers.Writer`` of the answers that may be learnt."""

    sample: Sample
    options: DemonstrationOptions

    def conversation(self, request: Draft, examples: Examples) -> Sequence[Message]:
        """See ``Writer``."""
        return request_conversation(request, examples)

    def write(self, conversations: Sequence[Conversation], attempt: int) -> list[str]:
        """See ``Writer``."""
        return [whole(answer, self.options) for answer in self.sample(conversations, attempt)]


def freely_answered(rules: Rules, response_type: str) -> bool:
    """Whether a model answers such prompts well by itself: they are to be answered, in no set form.

    A form is what the policy has fragments for: a disclaimer, a question back.
    """
    if not rules.over_refusal(response_type):
        return False
    best = rules.best_labels()[response_type]
    recipes = rules.completions.recipes.get(response_type, {})
    slots = {slot for label in best for recipe in recipes.get(label, ()) for slot in recipe.slots}
    return slots <= set(SLOT_ROLES)


def directed_answers(
    prompts: Sequence[PolicyPrompt],
    rules: Rules,
    others: Sequence[PolicyPrompt],
    sample: Sample,
    options: DemonstrationOptions,
    ideal: Ideal,
    seed: int,
) -> list[Demonstration]:
    """One ideal answer to each prompt: the model's own, told how, where it can be made to.

    Where no attempt is ideal, it is composed of fragments; a prompt of a type for which the policy has no
    recipes is left out then.

    Args:
        others: prompts that examples are drawn from.
    """
    best, draw = rules.best_labels(), random.Random(f"{seed}:directed")

    def composed(prompt: PolicyPrompt) -> Draft | None:
        labels = set(labels_of(rules, prompt.response_type)) & set(best[prompt.response_type])
        if not labels:
            return None
        return compose(prompt, draw.choice(sorted(labels)), rules, others, draw)

    drafts = [draft for draft in map(composed, prompts) if draft]
    bare = [p for p in prompts if not labels_of(rules, p.response_type)]
    drafts += [
        request
        for request in requests_without_recipes(bare, rules, 1, seed)
        if request.label in best[request.prompt.response_type]
    ]
    probabilities: dict[tuple[str, str], float] = {}

    def accept(asked: Sequence[Draft], texts: Sequence[str]) -> list[bool]:
        found = ideal([draft.prompt for draft in asked], texts)
        keys = [(draft.prompt.id, text) for draft, text in zip(asked, texts, strict=True)]
        probabilities.update(zip(keys, found, strict=True))
        return [p >= options.ideal_floor for p in found]

    met = rejection_sample(
        drafts,
        rules,
        others,
        WholeAnswers(sample, options),
        accept,
        options.attempts,
        options.examples,
        seed,
    )
    own = {draft.prompt.id: draft.completion for draft in met}
    rows = []
    for draft in drafts:
        text = own.get(draft.prompt.id)
        if text is None and draft.completion:
            rows.append(safety_demonstration(draft.prompt, draft.completion, "composed", None))
        elif text is not None:
            p = probabilities[draft.prompt.id, text]
            rows.append(safety_demonstration(draft.prompt, text, "conditioned", p))
    return rows


def safety_demonstration(
    prompt: PolicyPrompt,
    completion: str,
    source: Literal["sampled", "conditioned", "composed"],
    probability: float | None,
) -> Demonstration:
    """A row of these."""
    return Demonstration(
        prompt_id=prompt.id,
        response_type=prompt.response_type,
        over_refusal=prompt.over_refusal,
        conversation=tuple(prompt.conversation),
        completion=completion,
        source=source,
        probability=None if probability is None else round(probability, 6),
    )


def demonstrations(
    helpful: Sequence[Demonstration],
    human: Sequence[Preference] | None,
    safety: Sequence[Demonstration] | None,
    options: SFTOptions,
    seed: int,
) -> list[Example]:
    """Answers to helpful prompts, and beside them answers to safety prompts, shuffled.

    A model's own answer to a safety prompt is an opening: from there it goes on as it would anyway, and to
    learn that again hides the little that says whether to answer.

    Args:
        human: pairs whose preferred completions are learnt, as many as there would be refusals beside
            ``safety``: these too are others' words; None for none.
        safety: ideal answers, of which answers to prompts to comply with are ``options.comply_share``.
            Refusals are drawn as they come: were there as many of a rare type as of a common one, a small
            model would answer prompts of the common type in the rare one's words. Too few are learnt again.
    """
    draw = random.Random(seed)
    chosen = one_each(helpful, options.helpful_demos, draw)
    if human is not None:
        preferred = [Example(row.conversation, row.chosen) for row in human]
        _, count = answers_and_refusals(options, options.safety_demos)
        chosen += draw.sample(preferred, min(count, len(preferred)))
    elif safety is not None:
        complied = [row for row in safety if row.over_refusal]
        refused = [row for row in safety if not row.over_refusal]
        answers, refusals = answers_and_refusals(options, len(complied))
        rounds = -(-refusals // max(1, len(refused)))
        chosen += one_each(complied, answers, draw, opening=True)
        chosen += one_each(refused * rounds, refusals, draw)
    draw.shuffle(chosen)
    return chosen


def answers_and_refusals(options: SFTOptions, available: int) -> tuple[int, int]:
    """How many answers and refusals are learnt: fewer of both where answers run out."""
    answers = round(options.safety_demos * options.comply_share)
    refusals = options.safety_demos - answers
    if available < answers:
        return available, round(refusals * available / answers)
    return answers, refusals


def one_each(
    rows: Sequence[Demonstration], count: int, draw: random.Random, opening: bool = False
) -> list[Example]:
    """At most ``count`` rows, drawn without replacement: no prompt's second before each has its first.

    Args:
        opening: whether of those that the model sampled by itself the first tokens alone are learnt.
    """
    shuffled = draw.sample(rows, len(rows))
    seen: dict[str, int] = defaultdict(int)
    order = []
    for row in shuffled:
        order.append((seen[row.prompt_id], row))
        seen[row.prompt_id] += 1
    order.sort(key=lambda pair: pair[0])
    return [
        Example(row.conversation, row.completion, opening and row.source == "sampled")
        for _, row in order[:count]
    ]
