"""The grader on held-out gold."""

from __future__ import annotations

from rbr.files import write_json, write_rows
from rbr.grading.accuracy import measure
from rbr.steps import common
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    rows = common.gold(context, "heldout")
    grader = common.reward_grader(context)
    table = measure(grader, rows, context.settings.evaluation.bootstrap).table
    metrics = {f"accuracy.{row['proposition']}": float(row["accuracy"]) for row in table}
    mean = table[-1]
    for key in ("balanced_accuracy", "auc", "majority", "calibration_error"):
        if mean[key] is not None:
            metrics[f"{key}.mean"] = float(mean[key])
    figure, axis = common.axes(8, 7)
    plot = axis[0][0]
    names = [row["proposition"] for row in table]
    values = [row["accuracy"] for row in table]
    errors = [
        [max(0.0, row["accuracy"] - row["low"]) for row in table],
        [max(0.0, row["high"] - row["accuracy"]) for row in table],
    ]
    plot.barh(names, values, xerr=errors, color="#5b8db8")
    plot.plot([row["majority"] for row in table], names, "k|", label="majority class")
    plot.set_xlim(0, 1)
    plot.set_xlabel("accuracy on held-out gold, 95 % interval")
    plot.invert_yaxis()
    plot.legend(loc="lower left")
    with context.output("grader_accuracy") as folder:
        write_rows(folder / "per_proposition.jsonl", table)
        common.save_plot(figure, folder / "accuracy.png")
        write_json(folder / "metrics.json", metrics)
    return metrics
