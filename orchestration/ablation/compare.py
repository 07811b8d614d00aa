"""What came out of an ablation: a table, the direction against the paper's, one plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from orchestration.ablation.spec import Ablation, Point
from pipeline.release.comparison_table import TITLES
from pipeline.release.differences import power
from rbr.evaluation.clusters import holm
from rbr.evaluation.metrics import METRICS, Verdict
from rbr.evaluation.paired import Difference
from rbr.evaluation.paired import compare as paired

# Two points read off a plot at +-0.01 each differ for certain from here on.
READING_ERROR = 0.02
DIRECTION = {"better": "higher", "worse": "lower", "tie": "not told apart"}


@dataclass(frozen=True)
class Result:
    """An arm's evaluation.

    Attributes:
        metrics: name -> (value, low, high), as ``safety_metrics`` gives them.
        judged: the judged answers, in the order of the prompts.
        measure: the value of ``Ablation.measure``, where there is one.
        failed_gates: gates of its artifacts that did not pass, one line each: told, not stopped at.
    """

    metrics: Mapping[str, Sequence[float]]
    judged: Sequence[Verdict]
    measure: float | None = None
    failed_gates: Sequence[str] = ()


@dataclass(frozen=True)
class Comparison:
    """An ablation's outcome: one row an arm, and what a reader must know beside them."""

    rows: list[dict[str, Any]]
    notes: list[str]

    def flat(self) -> list[dict[str, Any]]:
        """One flat row an arm, for a table of MLflow."""
        return [
            {"arm": row["arm"], "measure": row["measure"]}
            | {name: row[name][0] for name in METRICS}
            | {"direction": "; ".join(f"{n}: {text}" for n, text in row["direction"].items())}
            for row in self.rows
        ]


def compare(ablation: Ablation, results: Mapping[str, Result], bootstrap: int = 2000) -> Comparison:
    """Each arm against the reference, prompt by prompt, and the direction against the paper's.

    A direction is ``higher`` or ``lower`` than the reference where the paired 95 % interval leaves 0
    out, else ``not told apart``; the paper's is that of its two points. Sizes are not compared: models,
    data and judge differ.

    Raises:
        DataError: if two arms answered different prompts.
    """
    reference = results[ablation.reference]
    points = ablation.paper.points if ablation.paper else {}
    base = points.get(ablation.arms[ablation.reference].paper or "")
    rows: list[dict[str, Any]] = []
    compared: list[Mapping[str, Difference]] = []
    notes = [
        f"{len(reference.judged)} held-out prompts; brackets: 95 % intervals over prompt families"
    ]
    for name, arm in ablation.arms.items():
        own = results[name]
        gaps: Mapping[str, Difference] = {}
        if name != ablation.reference:
            gaps = paired(own.judged, reference.judged, bootstrap)
            compared.append(gaps)
        directions = {}
        for metric, gap in gaps.items():
            theirs = direction(points.get(arm.paper or ""), base, metric)
            if theirs:
                ours = DIRECTION[gap.verdict]
                directions[metric] = f"{ours} (paper: {theirs})"
                notes.append(f"{name}: {TITLES[metric]} {ours}, in the paper {theirs}")
        rows.append(
            {
                "arm": name,
                "measure": own.measure,
                **{metric: list(own.metrics[metric]) for metric in METRICS},
                "difference": {
                    metric: {**asdict(gap), "verdict": gap.verdict} for metric, gap in gaps.items()
                },
                "direction": directions,
            }
        )
        notes += [f"{name}: a gate was told, not stopped at: {text}" for text in own.failed_gates]
    shown: list[dict[str, Any]] = [
        row["difference"]["f1_star"] for row in rows if row["difference"]
    ]
    for own_gap, p in zip(shown, holm([found["p_value"] for found in shown]), strict=True):
        own_gap["p_holm"] = p
    notes.append(
        f"p: F1*, paired over prompt families, corrected for {len(shown)} arms (Holm); directions are"
        " by intervals that are not corrected"
    )
    notes += power(reference.judged, compared)
    if ablation.paper:
        notes.append(f"the paper: {ablation.paper.expected}")
    else:
        notes.append("the paper's figures for this one are not at hand")
    return Comparison(rows, notes)


def direction(point: Point | None, base: Point | None, metric: str) -> str | None:
    """The paper's direction from ``base`` to ``point``; None where it shows no such figure."""
    value, start = getattr(point, metric, None), getattr(base, metric, None)
    if value is None or start is None:
        return None
    if abs(value - start) < READING_ERROR:
        return "not told apart"
    return "higher" if value > start else "lower"


def markdown(ablation: Ablation, comparison: Comparison) -> str:
    """The table as text."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    measured = [ablation.measure.title] if ablation.measure else []
    head = ["arm", *measured, *(TITLES[name] for name in METRICS), "F1* less the reference's"]
    lines = [f"# {ablation.title}", "", ablation.question, "", line(head)]
    lines.append(line(["---"] * len(head)))
    for row in comparison.rows:
        cells = [row["arm"]]
        if measured:
            cells.append(f"{row['measure']:.3f}")
        cells += ["{:.3f} [{:.3f}, {:.3f}]".format(*row[name]) for name in METRICS]
        gap = row["difference"].get("f1_star")
        told = (
            "{value:+.3f} [{low:+.3f}, {high:+.3f}], p {p_holm:.2g}".format(**gap)
            if gap
            else "reference"
        )
        lines.append(line([*cells, told]))
    return "\n".join([*lines, "", *(f"- {note}" for note in comparison.notes)]) + "\n"


def draw(ablation: Ablation, comparison: Comparison, axes: Sequence[Any]) -> None:
    """Ours, with intervals, and the paper's points beside it where there are any.

    Args:
        axes: two of Matplotlib's; the second is for the paper.
    """
    names = [row["arm"] for row in comparison.rows]
    labels = names
    if ablation.measure:
        labels = [f"{row['arm']}\n{row['measure']:.3f}" for row in comparison.rows]
        axes[0].set_xlabel(f"below each: {ablation.measure.title}")
    for number, metric in enumerate(METRICS):
        values, low, high = np.array([row[metric] for row in comparison.rows], dtype=float).T
        errors = [np.maximum(0, values - low), np.maximum(0, high - values)]
        places = np.arange(len(names)) + 0.07 * (number - 1.5)
        axes[0].errorbar(places, values, errors, fmt="o-", capsize=2, label=TITLES[metric])
    axes[0].set_xticks(range(len(names)), labels, fontsize=8)
    axes[0].set_title(f"{ablation.title}: ours")
    axes[0].legend(fontsize=8)
    _draw_paper(ablation, axes[1])
    for axis in axes:
        axis.set_ylim(-0.02, 1.05)
        axis.grid(axis="y", alpha=0.3)


def _draw_paper(ablation: Ablation, axis: Any) -> None:
    axis.set_title("the paper (far larger models, other prompts)")
    if ablation.paper is None:
        axis.text(0.5, 0.5, "figures not at hand", ha="center", transform=axis.transAxes)
        axis.set_xticks([])
        return
    points = ablation.paper.points
    for metric in METRICS:
        # A metric that is not shown uses up its colour too, so that both sides have the same.
        values = [getattr(point, metric, None) for point in points.values()]
        shown = np.array([np.nan if value is None else value for value in values])
        axis.plot(range(len(points)), shown, "s--")
    axis.set_xticks(range(len(points)), list(points), fontsize=8)
    axis.set_xlabel(f"{ablation.paper.axis}\n(read off its plots, +-0.01)")
