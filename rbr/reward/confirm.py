"""Whether the grader finds a completion to be what it was meant to be (section 4.2 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rbr.comparisons.compose import PROMPT_TEXTS
from rbr.reward.classes import class_probabilities
from rbr.reward.features import Array, masked_probabilities

if TYPE_CHECKING:
    from rbr.comparisons.conditioned import Accept, Draft
    from rbr.grading.base import Grader
    from rbr.rules.rules import Rules

# The classes that a label's completions should be graded as, at best or at worst.
GOOD_CLASSES = {
    "ideal": {"ideal"},
    "full": {"ideal", "minimum_acceptable_style"},
    "partial": {"ideal", "minimum_acceptable_style"},
    "refusal": {"unacceptable_completion"},
    "off_topic": {"illogical_completion", "unacceptable_completion"},
    "bad": {"minimum_acceptable_style", "unacceptable_completion", "illogical_completion"},
    "disallowed": {"disallowed_completion"},
}

# How far an answer answers: two labels of one class (full, partial) differ in these alone.
ANSWERING = frozenset(name for names in PROMPT_TEXTS.values() for name in names)


def label_probability(
    probabilities: Array, grader: Grader, rules: Rules, response_type: str, label: str
) -> float:
    """The grader's probability of the classes that fit a label.

    Args:
        probabilities: (propositions,), of one completion.
    """
    masked = masked_probabilities(probabilities[None], grader.propositions, rules, response_type)
    classes = class_probabilities(masked, rules, response_type)[0]
    good = GOOD_CLASSES.get(label, {"ideal"})
    return float(sum(classes[rules.class_names.index(name)] for name in good))


def true_propositions(probabilities: Array, grader: Grader) -> tuple[str, ...]:
    """Names of the propositions that hold of one completion by the grader's thresholds, sorted."""
    holds = probabilities >= grader.thresholds
    return tuple(sorted(n for n, true in zip(grader.propositions, holds, strict=True) if true))


def has_wanted(wanted: Sequence[str], found: Sequence[str]) -> bool:
    """Whether all wanted propositions hold, and none beside them of how far it answers."""
    return set(wanted) <= set(found) and not (set(found) - set(wanted)) & ANSWERING


def confirms(grader: Grader, rules: Rules, floor: float) -> Accept:
    """Acceptance by the grader, as ``rejection_sample`` takes it.

    A completion is accepted if its label's classes have at least the probability ``floor``, and the
    wanted propositions hold.
    """

    def accept(requests: Sequence[Draft], completions: Sequence[str]) -> list[bool]:
        grades = grader.grade([request.prompt.conversation for request in requests], completions)
        return [
            label_probability(p, grader, rules, request.prompt.response_type, request.label)
            >= floor
            and has_wanted(request.true, true_propositions(p, grader))
            for request, p in zip(requests, grades, strict=True)
        ]

    return accept
