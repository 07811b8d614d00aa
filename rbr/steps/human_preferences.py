"""Simulated human safety preferences."""

from __future__ import annotations

from rbr.data.annotators import simulated_preferences
from rbr.files import write_json, write_rows
from rbr.steps import common
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    settings = context.settings.human
    metrics: dict[str, float] = {"overcaution": settings.overcaution, "noise": settings.noise}
    with context.output("human_preferences") as folder:
        for number, split in enumerate(("train", "validation")):
            rows = simulated_preferences(
                # Made to order alone: what the base model wrote has the grader's label, not people's.
                [row for row in common.comparisons(context, split) if row.source != "generated"],
                settings.overcaution,
                settings.noise,
                context.settings.seed + number,
                f"sim-{split}",
            )
            write_rows(folder / f"{split}.jsonl", rows)
            metrics[f"{split}_pairs"] = len(rows)
        write_json(folder / "metrics.json", metrics)
    return metrics
