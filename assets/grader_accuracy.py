"""The grader on held-out gold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.gates import Part, between, json_lines, metrics, unique
from pipeline.loading import stored_grader, with_noise
from pipeline.plots import axes, save_plot
from rbr.evaluation.judge import Judge
from rbr.evaluation.nonsense import nonsense_best_share
from rbr.files import write_rows
from rbr.grading.accuracy import measure
from rbr.grading.base import usage_metrics


@artifact(
    folder="data",
    group="grading",
    inputs=("rules", "grader", "base_model", "gold_propositions"),
    rules=("propositions", "roles"),
    settings=("grader", "evaluation", "grade_noise"),
    pool="grader",
    plot="accuracy.png",
)
def grader_accuracy(context: Context, output: Path) -> Mapping[str, float]:
    """Accuracy of the grader per proposition on held-out gold, with intervals."""
    rules = compiled_rules(context)
    grader = with_noise(context, stored_grader(context, rules))
    heldout = rows.gold(context, "heldout")
    measured = measure(grader, heldout, rules, context.settings.evaluation.bootstrap)
    table = measured.table
    context.run.metrics(usage_metrics(grader))
    write_rows(output / "per_proposition.jsonl", table)
    write_rows(output / "by_part.jsonl", measured.parts)
    plot_accuracy(table, output / "accuracy.png")
    found = {f"accuracy.{row['proposition']}": float(row["accuracy"]) for row in table}
    nonsense = nonsense_best_share(Judge(grader, rules), heldout, context.settings.seed)
    found["nonsense_best_share"] = nonsense
    for key in ("balanced_accuracy", "auc", "majority", "calibration_error"):
        if table[-1][key] is not None:
            found[f"{key}.mean"] = float(table[-1][key])
    return found


def plot_accuracy(table: Sequence[Mapping[str, Any]], target: Path) -> None:
    """A bar for each proposition, with its interval and the majority class."""
    figure, (plot,) = axes(8, 7)
    names = [row["proposition"] for row in table]
    below = [max(0.0, row["accuracy"] - row["low"]) for row in table]
    above = [max(0.0, row["high"] - row["accuracy"]) for row in table]
    accuracies = [row["accuracy"] for row in table]
    plot.barh(names, accuracies, xerr=[below, above], color="#5b8db8")
    plot.plot([row["majority"] for row in table], names, "k|", label="majority class")
    plot.set_xlim(0, 1)
    plot.set_xlabel("accuracy on held-out gold, 95 % interval")
    plot.invert_yaxis()
    plot.legend(loc="lower left")
    save_plot(figure, target)


@grader_accuracy.gate
def expectations(context: Context) -> list[Part]:
    gates = context.settings.gates
    table = json_lines(context.folder / "per_proposition.jsonl")
    # A file without rows is a frame without columns.
    table = table.reindex(columns=["proposition", "accuracy"])
    mean = table[table["proposition"] == "mean"].reset_index(drop=True)
    table = table[table["proposition"] != "mean"].reset_index(drop=True)
    propositions = len(compiled_rules(context).proposition_names)
    floor, mean_floor = gates.grader_proposition_min, gates.grader_accuracy_min
    return [
        Part(
            "measured",
            pd.DataFrame({"propositions": [len(table)], "means": [len(mean)]}),
            [
                between("propositions", propositions, propositions, "each proposition is measured"),
                between("means", 1, 1, "and their mean"),
            ],
        ),
        Part(
            "propositions",
            table,
            [
                *unique("proposition"),
                between("accuracy", floor, 1, "floor of each proposition"),
            ],
        ),
        Part("mean", mean, [between("accuracy", mean_floor, 1, "floor of the mean")]),
        Part(
            "word salad",
            metrics(context),
            [between("nonsense_best_share", 0, gates.nonsense_best_max, "of the best class")],
        ),
    ]
