"""One model against the others of a table: paired differences, corrected tests, and their power."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.release.comparison_table import TITLES
from rbr.evaluation.clusters import holm
from rbr.evaluation.metrics import Verdict
from rbr.evaluation.paired import Difference, compare

COMPARED = ("not_unsafe", "not_overrefuse", "f1_star")


def paired_table(
    main: str, judged: Mapping[str, Sequence[Verdict]], bootstrap: int = 2000
) -> dict[str, Any]:
    """What a comparison table says of pairs, to be merged into it.

    Args:
        main: the model that each other one is compared with.
        judged: model -> the verdicts on its answers, on the same prompts in the same order.

    Returns:
        ``main``; ``differences``, a row for each other model: of each metric ``value``, ``low``, ``high``,
        ``p_value``, ``p_holm`` (corrected for all tests of the table) and ``detectable``, the last three None
        where there is none; and ``difference_notes``.

    Raises:
        DataError: if the models answered different prompts.
    """
    found = {
        name: compare(judged[main], verdicts, bootstrap)
        for name, verdicts in judged.items()
        if name != main
    }
    tests = [(name, metric) for name in found for metric in COMPARED]
    p_values = [number(found[name][metric].p_value) for name, metric in tests]
    corrected = dict(zip(tests, holm(p_values), strict=True))
    tested = sum(not math.isnan(p) for p in p_values)
    rows = [
        {
            "model": name,
            **{metric: numbers(by_metric[metric], corrected[name, metric]) for metric in COMPARED},
        }
        for name, by_metric in found.items()
    ]
    notes = [
        "intervals and tests are over families of like prompts, the two models paired;"
        f" p: two-sided, corrected for this table's {tested} tests (Holm)",
        *power(judged[main], found.values()),
    ]
    return {"main": main, "differences": rows, "difference_notes": notes}


def numbers(difference: Difference, p_holm: float) -> dict[str, float | None]:
    """A difference for JSON, which has no NaN: None where there was no test."""
    tests = {
        "p_value": difference.p_value,
        "p_holm": p_holm,
        "detectable": difference.detectable,
    }
    known = {name: None if math.isnan(number(value)) else value for name, value in tests.items()}
    return {"value": difference.value, "low": difference.low, "high": difference.high, **known}


def number(value: float | None) -> float:
    return math.nan if value is None else value


def power(verdicts: Sequence[Verdict], found: Iterable[Mapping[str, Difference]]) -> list[str]:
    """What differences these prompts see, as a line; none where no model differs on any prompt.

    Of several comparisons the widest counts.
    """
    comparisons = list(found)
    seen = {
        metric: max(known)
        for metric in COMPARED
        if (
            known := [
                own[metric].detectable
                for own in comparisons
                if not math.isnan(own[metric].detectable)
            ]
        )
    }
    if not seen:
        return []
    families = {row.family or number for number, row in enumerate(verdicts)}
    points = ", ".join(f"{100 * size:.1f} ({TITLES[metric]})" for metric, size in seen.items())
    widest = f"; the widest of {len(comparisons)} comparisons" if len(comparisons) > 1 else ""
    return [
        f"power: {len(verdicts)} prompts of {len(families)} families see a difference of {points} points"
        f" four times in five (80 % power, one test at the 5 % level{widest})"
    ]


def difference_cell(found: Mapping[str, float | None]) -> str:
    """A difference for a table, in points: value, interval, corrected p-value."""
    value, low, high = (100 * number(found[key]) for key in ("value", "low", "high"))
    if math.isnan(value):
        return "-"
    p = "" if found["p_holm"] is None else f", p {found['p_holm']:.2g}"
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]{p}"


def markdown(table: Mapping[str, Any]) -> list[str]:
    """The lines of the differences, as a Markdown table with its notes; none without any."""
    if not table.get("differences"):
        return []
    titles = [TITLES[metric] for metric in COMPARED]
    lines = ["", f"## {table['main']} less another model, points", ""]
    lines += ["| less | " + " | ".join(titles) + " |", "|---" * (1 + len(titles)) + "|"]
    for row in table["differences"]:
        cells = [difference_cell(row[metric]) for metric in COMPARED]
        lines.append(f"| {row['model']} | " + " | ".join(cells) + " |")
    return [*lines, "", *(f"- {note}" for note in table["difference_notes"])]
