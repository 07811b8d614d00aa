"""Whether the grader finds a completion to be what it was meant to be (section 4.2 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rbr.reward.classes import class_probabilities
from rbr.reward.features import Array, in_rule_order
from rbr.rules.models import SLOT_ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from rbr.comparisons.conditioned import Accept, Draft
    from rbr.data.rows import PolicyPrompt
    from rbr.grading.base import Grader, Progress
    from rbr.rules.rules import Rules


def label_probability(
    probabilities: Array, grader: Grader, rules: Rules, response_type: str, label: str
) -> float:
    """The grader's probability of the classes that fit a label.

    Args:
        probabilities: (propositions,), of one completion.
    """
    p = in_rule_order(probabilities[None], grader.propositions, rules)
    classes = class_probabilities(p, rules, response_type)[0]
    names = rules.class_names(response_type)
    return float(
        sum(classes[names.index(name)] for name in rules.reward[response_type].labels[label])
    )


def true_propositions(probabilities: Array, grader: Grader) -> tuple[str, ...]:
    """Names of the propositions that hold of one completion by the grader's thresholds, sorted."""
    holds = probabilities >= grader.thresholds
    return tuple(sorted(n for n, true in zip(grader.propositions, holds, strict=True) if true))


def has_wanted(wanted: Sequence[str], found: Sequence[str], rules: Rules) -> bool:
    """Whether all wanted propositions hold, and none beside them of how far it answers.

    Two labels of one class may differ in these alone.
    """
    answering = {name for role in SLOT_ROLES.values() for name in rules.makes(role)}
    return set(wanted) <= set(found) and not (set(found) - set(wanted)) & answering


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
            and has_wanted(request.true, true_propositions(p, grader), rules)
            for request, p in zip(requests, grades, strict=True)
        ]

    return accept


def best_class(
    grader: Grader, rules: Rules, progress: Progress | None = None
) -> Callable[[Sequence[PolicyPrompt], Sequence[str]], list[float]]:
    """The grader's probability of the best class of a prompt's response type, of its completion."""

    def probabilities(prompts: Sequence[PolicyPrompt], completions: Sequence[str]) -> list[float]:
        conversations = [prompt.conversation for prompt in prompts]
        grades = grader.grade(conversations, completions, progress)
        p = in_rule_order(grades, grader.propositions, rules)
        found = []
        for row, prompt in zip(p, prompts, strict=True):
            kind = prompt.response_type
            classes = class_probabilities(row[None], rules, kind)[0]
            best = [rules.quality(kind, name) == "best" for name in rules.class_names(kind)]
            found.append(float(classes[best].sum()))
        return found

    return probabilities
