"""Helpful-only preference pairs and RL prompts; the pairs are split by family."""

from __future__ import annotations

from rbr.data.rows import HelpfulPrompt, Preference
from rbr.data.splits import split_by_family
from rbr.files import read_rows, write_json, write_rows
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    pairs = read_rows(context.source / "helpful_preferences.jsonl", Preference)
    prompts = read_rows(context.source / "helpful_prompts.jsonl", HelpfulPrompt)
    splits = split_by_family(
        pairs,
        lambda row: row.family,
        lambda row: "all",
        {"train": 0.8, "validation": 0.2},
        context.settings.seed,
    )
    metrics: dict[str, float] = {f"{name}_pairs": len(rows) for name, rows in splits.items()}
    metrics["prompts"] = len(prompts)
    with context.output("helpful_preferences") as folder:
        for name, rows in splits.items():
            write_rows(folder / f"{name}.jsonl", rows)
        write_rows(folder / "prompts.jsonl", prompts)
        write_json(folder / "metrics.json", metrics)
    return metrics
