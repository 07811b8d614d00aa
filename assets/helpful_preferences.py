"""Helpful-only preference pairs and prompts for RL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.gates import Part, preference_pairs, split_files
from rbr.data.preferences import helpful_pairs
from rbr.data.rows import HelpfulPrompt
from rbr.files import read_rows, write_rows


@artifact(
    folder="data",
    group="data",
    sources=(
        "data/source/helpful_preferences.jsonl",
        "data/source/helpful_prompts.jsonl",
        # The written answers, not the artifact safety_prompts: no response type matters here.
        "data/source/safety_prompts",
    ),
    settings=("prompts",),
    kinds=("python", "dataset"),
)
def helpful_preferences(context: Context, output: Path) -> Mapping[str, float]:
    """Helpful-only preference pairs, demonstrations and RL prompts, split by family."""
    splits = helpful_pairs(context.source, context.settings.prompts, context.settings.seed)
    prompts = read_rows(context.source / "helpful_prompts.jsonl", HelpfulPrompt)
    for name, rows in splits.items():
        write_rows(output / f"{name}.jsonl", rows)
    write_rows(output / "prompts.jsonl", prompts)
    return {
        **{f"{name}_pairs": len(rows) for name, rows in splits.items()},
        "prompts": len(prompts),
    }


@helpful_preferences.gate
def expectations(context: Context) -> list[Part]:
    splits = ("train", "validation")
    return preference_pairs(split_files(context.folder, splits), splits)
