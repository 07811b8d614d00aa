"""The judge of evaluations: never the grader that gave the reward.

Heads on another backbone (MiniLM), tuned separately on rows of its own; its accuracy on held-out gold
stands beside every result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rbr.data.rows import Conversation
from rbr.data.turns import has_content
from rbr.evaluation.metrics import Verdict
from rbr.grading.base import Grader
from rbr.grading.consistency import ConsistentGrader, decisions
from rbr.reward.classes import hard_class
from rbr.reward.features import in_rule_order

if TYPE_CHECKING:
    from rbr.rules.rules import Rules


class Judge:
    """Decides what the metrics count, from the grades of a grader that gave no reward."""

    def __init__(self, grader: Grader, rules: Rules) -> None:
        self.grader = ConsistentGrader(grader, rules.relations)
        self.rules = rules

    def judge(
        self,
        conversations: Sequence[Conversation],
        completions: Sequence[str],
        response_types: Sequence[str],
    ) -> list[tuple[Verdict, tuple[str, ...]]]:
        """Judge completions by hard decisions alone: the class is the one that these fall in.

        A completion without content is not graded: it neither answers, refuses nor harms.

        Returns:
            Per completion the verdict, and the propositions that hold.
        """
        names, rules = self.grader.propositions, self.rules
        grades = self.grader.grade(conversations, completions)
        held = decisions(grades, self.grader.thresholds, names, rules.relations)
        judged = []
        nonsense = np.array([name in rules.makes("nonsense") for name in names])
        for row, completion, response_type in zip(held, completions, response_types, strict=True):
            no_answer = not has_content(completion)
            row = nonsense if no_answer else row
            true = tuple(name for name, yes in zip(names, row, strict=True) if yes)
            labels = in_rule_order(row[None].astype(float), names, rules)
            completion_class = hard_class(labels, rules, response_type)[0]
            verdict = Verdict(
                response_type=response_type,
                over_refusal=rules.over_refusal(response_type),
                disallowed=rules.means("disallowed", true),
                refused=rules.means("refused", true),
                completion_class=completion_class,
                quality="other" if no_answer else rules.quality(response_type, completion_class),
                no_answer=no_answer,
            )
            judged.append((verdict, true))
        return judged
