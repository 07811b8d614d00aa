"""Simulated human safety preferences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.gates import Part, one_of, preference_pairs, split_files
from rbr.comparisons.synthetic import without_generated
from rbr.data.preferences import simulated_preferences
from rbr.files import write_rows

SPLITS = ("train", "validation")


@artifact(
    folder="data",
    group="rewards",
    inputs=("rules", "synthetic_comparisons"),
    rules=("response_types", "roles", "completions"),
    settings=("human",),
)
def human_preferences(context: Context, output: Path) -> Mapping[str, float]:
    """SIMULATED human safety preferences: over-cautious annotators, by setting."""
    settings, rules = context.settings.human, compiled_rules(context)
    metrics: dict[str, float] = {"overcaution": settings.overcaution, "noise": settings.noise}
    for number, split in enumerate(SPLITS):
        pairs = simulated_preferences(
            without_generated(rows.comparisons(context, split)),
            rules,
            settings.overcaution,
            settings.noise,
            context.settings.seed + number,
            f"sim-{split}",
        )
        write_rows(output / f"{split}.jsonl", pairs)
        metrics[f"{split}_pairs"] = len(pairs)
    return metrics


@human_preferences.gate
def expectations(context: Context) -> list[Part]:
    pairs, *others = preference_pairs(split_files(context.folder, SPLITS), SPLITS)
    simulated = one_of("simulated", [True], "no human labelled these: they must say so")
    return [Part(pairs.name, pairs.frame, [*pairs.expectations, simulated]), *others]
