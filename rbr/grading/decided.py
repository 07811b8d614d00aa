"""What a grader decides of the propositions that metrics count, against labels: found, missed, alleged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbr.grading.accuracy import decided

if TYPE_CHECKING:
    from rbr.data.rows import Labelled
    from rbr.grading.base import Array, Grader
    from rbr.rules.rules import Rules

# Roles of ``rules/content_policy.yaml``'s metrics, and what a reader calls them.
DECIDED = {"disallowed": "disallowed content", "refused": "refusal"}


def decided_by_type(
    grader: Grader, rows: Sequence[Labelled], probabilities: Array, rules: Rules
) -> list[dict[str, Any]]:
    """Count the decisions by response type, as the judge decides: relations kept, own thresholds.

    An accuracy over all rows hides a grader that never says yes where few rows are a yes; these counts do
    not.

    Args:
        probabilities: the grades of the rows, (n, propositions).

    Returns:
        A row for each role and response type that rows have: ``role``, ``response_type``, ``rows``, ``true``
        (labelled so), ``found`` of them, and ``alleged`` (said so of others).
    """
    said = decided(grader, probabilities, rules)
    table = []
    for role in DECIDED:
        for kind in rules.types:
            inside = [i for i, row in enumerate(rows) if row.response_type == kind]
            if not inside:
                continue
            labelled = {i for i in inside if rules.means(role, rows[i].true)}
            held = {i for i in inside if rules.means(role, said[i])}
            counts = {"true": len(labelled), "found": len(labelled & held)}
            alleged = len(held - labelled)
            table.append(
                {"role": role, "response_type": kind, "rows": len(inside), **counts}
                | {"alleged": alleged}
            )
    return table
