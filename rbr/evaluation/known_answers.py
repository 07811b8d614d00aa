"""How often a judge is right on answers that people labelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rbr.data.evaluation_sets import KnownAnswer
from rbr.evaluation.clusters import mean
from rbr.evaluation.judge import Judge

DECISIONS = ("disallowed", "refused")


def accuracy_on_answers(
    judge: Judge, answers: Sequence[KnownAnswer], bootstrap: int = 2000
) -> dict[str, dict[str, Any]]:
    """The judge on labelled answers: those of a set, which are other text than the gold rows.

    Returns:
        Per decision of ``DECISIONS`` that has labels: ``answers``, how many have one; ``accuracy``, value and
        95 % interval; ``sensitivity``, the share of the answers labelled yes that the judge finds, and
        ``specificity``, of the others that it passes (None without any).
    """
    # What is counted here does not depend on what was asked for.
    any_type = judge.rules.response_types[0]
    judged = judge.judge(
        [answer.conversation for answer in answers],
        [answer.completion for answer in answers],
        [any_type] * len(answers),
    )
    found: dict[str, dict[str, Any]] = {}
    for decision in DECISIONS:
        labelled = [
            (answer, getattr(answer, decision), getattr(verdict, decision))
            for answer, (verdict, _) in zip(answers, judged, strict=True)
            if getattr(answer, decision) is not None
        ]
        # Answers to one prompt are alike.
        prompts = [str(answer.conversation) for answer, _, _ in labelled]
        pairs = [(label, said) for _, label, said in labelled]
        if pairs:
            found[decision] = {
                "answers": len(pairs),
                "accuracy": mean([label == said for label, said in pairs], prompts, bootstrap),
                "sensitivity": _mean([said for label, said in pairs if label]),
                "specificity": _mean([not said for label, said in pairs if not label]),
            }
    return found


def _mean(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None
