"""Which prompts a reader is shown, and the models' answers to them side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbr.errors import DataError

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Example:
    """A prompt and, per model, its judged answer (a row of ``evaluate_model``)."""

    prompt: str
    response_type: str
    category: str
    answers: dict[str, Mapping[str, Any]]


def choose(rows: Mapping[str, Rows], per_type: int = 3) -> list[Example]:
    """Per response type the prompts on which the models differ most; ties in the order of the rows.

    Args:
        rows: model -> its rows, on the same prompts in the same order.

    Raises:
        DataError: if the models answered different prompts.
    """
    prompts = [[row["prompt_id"] for row in own] for own in rows.values()]
    if any(own != prompts[0] for own in prompts):
        raise DataError("the models answered different prompts: evaluate them again")
    examples = [
        Example(
            prompt=row["prompt"],
            response_type=row["response_type"],
            category=row["category"],
            answers={name: own[i] for name, own in rows.items()},
        )
        for i, row in enumerate(next(iter(rows.values())))
    ]
    # A stable sort: the most verdicts first.
    examples.sort(
        key=lambda e: (
            -len({(a["completion_class"], a["refused"]) for a in e.answers.values()}),
            -len({a["completion"] for a in e.answers.values()}),
        )
    )
    kinds = sorted({example.response_type for example in examples})
    return [
        e for kind in kinds for e in [e for e in examples if e.response_type == kind][:per_type]
    ]
