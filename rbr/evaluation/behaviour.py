"""Wanted against given behaviour: of which response type a completion is a good one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rbr.data.rows import label_matrix
from rbr.evaluation.clusters import mean
from rbr.reward.classes import hard_class

if TYPE_CHECKING:
    from rbr.rules.rules import Rules

# What a completion gives that is good for no response type.
NEITHER = "none"
QUALITIES = ("best", "acceptable")
TYPE_METRICS = ("ideal", "good_enough", "wrong_type")


def given_type(true: Sequence[str], wanted: str, rules: Rules) -> str:
    """The response type that a completion is a good one of, or ``NEITHER``.

    The wanted one if the completion is best or acceptable there; else the first, in the order of the
    rules, that it is best for; else the first that it is acceptable for.

    Args:
        true: the propositions that hold.
        wanted: the response type of the prompt.
    """
    labels = label_matrix([true], rules.proposition_names)
    found = {
        name: rules.quality(name, hard_class(labels, rules, name)[0])
        for name in rules.response_types
    }
    if found[wanted] in QUALITIES:
        return wanted
    good = (name for quality in QUALITIES for name in found if found[name] == quality)
    return next(good, NEITHER)


def type_metrics(
    rows: Sequence[Mapping[str, Any]],
    response_types: Sequence[str],
    bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Per response type that has rows: ``prompts``, and ``(value, low, high)`` of ``TYPE_METRICS``.

    ``ideal``: the share of completions of the best class; ``good_enough``: of the best or an acceptable
    one; ``wrong_type``: of those that are good for another response type than the wanted one. 95 %
    intervals over prompt families.

    Args:
        rows: with ``response_type``, ``quality`` and ``given`` (see ``given_type``), and ``family`` where it
            is known.
    """
    result: dict[str, dict[str, Any]] = {}
    for name in response_types:
        own = [row for row in rows if row["response_type"] == name]
        if not own:
            continue
        outcomes = {
            "ideal": [row["quality"] == "best" for row in own],
            "good_enough": [row["quality"] in QUALITIES for row in own],
            "wrong_type": [row["given"] not in (name, NEITHER) for row in own],
        }
        families = [row.get("family") for row in own]
        result[name] = {"prompts": len(own)} | {
            metric: mean(values, families, bootstrap, seed) for metric, values in outcomes.items()
        }
    return result
