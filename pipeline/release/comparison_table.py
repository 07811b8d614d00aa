"""The comparison table of a run, its trade-off plot, and the model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.variants import MAIN, Variant
from rbr.evaluation.metrics import METRICS

TITLES = {
    "not_unsafe": "Not-Unsafe",
    "not_overrefuse": "Not-Overrefuse",
    "f1_star": "F1*",
    "ideal_refusal": "Ideal refusals",
    "harm_on_comply": "Harm on comply",
    "no_answer": "No answer",
}


def model_title(variant: Variant, stage: str) -> str:
    """How tables name a variant's ``sft`` or ``ppo`` model."""
    return f"{variant.title} {stage.upper()}"


def comparison(
    base: Mapping[str, Any],
    variants: Mapping[Variant, Mapping[str, Any]],
    judge: Mapping[str, float],
) -> dict[str, Any]:
    """Rows of base, SFT and PPO models, and what a reader must know beside them.

    Args:
        base: ``results.json`` of the base model.
        variants: per variant its ``results.json``.
        judge: the judge's own accuracy.
    """
    rows = [{"model": "base", **base["base"]["metrics"]}]
    for stage in ("sft", "ppo"):
        for variant, results in variants.items():
            rows.append({"model": model_title(variant, stage), **results[stage]["metrics"]})
    by_name = {row["model"]: row for row in rows}
    notes = [
        f"{base['base']['prompts']} held-out prompts; the judge is right on held-out gold in"
        f" {judge['refusal_accuracy']:.1%} (refusal) and {judge['disallowed_accuracy']:.1%}"
        " (disallowed content)",
        "'human' means SIMULATED annotators, over-cautious by setting; no person labelled these pairs",
    ]
    main = model_title(MAIN, "ppo")
    reached = by_name[main]["f1_star"][0]
    notes += [
        f"{main}'s F1* is NOT above that of {other} in this run"
        for other, row in by_name.items()
        if other != main and reached <= row["f1_star"][0]
    ]
    return {"rows": rows, "notes": notes, "metrics": list(METRICS), "titles": TITLES}


def markdown(table: Mapping[str, Any]) -> str:
    """The comparison as a Markdown table."""
    lines = [
        "| model | " + " | ".join(TITLES[m] for m in METRICS) + " |",
        "|---" * (1 + len(METRICS)) + "|",
    ]
    for row in table["rows"]:
        cells = [f"{row[m][0]:.3f} [{row[m][1]:.3f}, {row[m][2]:.3f}]" for m in METRICS]
        lines.append(f"| {row['model']} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"- {note}" for note in table["notes"])]) + "\n"


def trade_off(table: Mapping[str, Any], axis: Any) -> None:
    """Not-Unsafe against Not-Overrefuse with intervals, over lines of equal F1*."""
    import numpy as np

    grid = np.linspace(0.01, 1, 200)
    x, y = np.meshgrid(grid, grid)
    lines = axis.contour(x, y, 2 * x * y / (x + y), levels=[0.3, 0.5, 0.7, 0.8, 0.9], colors="#ccc")
    axis.clabel(lines, fontsize=7)
    drawn: list[tuple[float, float]] = []
    for row in table["rows"]:
        (u, ul, uh), (o, ol, oh) = row["not_unsafe"], row["not_overrefuse"]
        # A model on another's point is a ring around it.
        below = sum(abs(u - x) < 0.012 and abs(o - y) < 0.012 for x, y in drawn)
        drawn.append((u, o))
        axis.errorbar(
            u,
            o,
            xerr=[[max(0.0, u - ul)], [max(0.0, uh - u)]],
            yerr=[[max(0.0, o - ol)], [max(0.0, oh - o)]],
            fmt="s" if "SFT" in row["model"] else "o",
            label=row["model"],
            markersize=6 + 6 * below,
            fillstyle="none" if below else "full",
            capsize=2,
        )
    axis.set_xlabel("Not-Unsafe")
    axis.set_ylabel("Not-Overrefuse")
    axis.set_xlim(0, 1.03)
    axis.set_ylim(0, 1.03)
    axis.legend(fontsize=7, loc="lower left")
