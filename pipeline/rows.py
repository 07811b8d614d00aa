"""Reading the rows of the artifacts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.data.rows import (
    Comparison,
    Demonstration,
    HelpfulPrompt,
    Labelled,
    PolicyPrompt,
    Preference,
    Sentence,
)
from rbr.files import read_rows

if TYPE_CHECKING:
    from pipeline.context import Context

SPLITS = ("train", "validation", "eval")


def safety_prompts(context: Context, split: str) -> list[PolicyPrompt]:
    return read_rows(context.path("safety_prompts") / f"{split}.jsonl", PolicyPrompt)


def evaluated_prompts(context: Context) -> list[PolicyPrompt]:
    """The held-out prompts that evaluations use, at most ``evaluation.prompts``."""
    rows = safety_prompts(context, "eval")
    # All categories in their shares, whatever the file's order.
    random.Random(context.settings.seed).shuffle(rows)
    return rows[: context.settings.evaluation.prompts]


def attacked_prompts(context: Context) -> list[PolicyPrompt]:
    """Held-out prompts in frames of the held-out attack forms; none where no template is written."""
    return read_rows(context.path("attack_prompts") / "heldout.jsonl", PolicyPrompt)


def gold(context: Context, split: str) -> list[Labelled]:
    return read_rows(context.path("gold_propositions") / f"{split}.jsonl", Labelled)


def sentences(context: Context, role: str) -> list[Sentence]:
    """Those that are planted in a role's gold answers."""
    path = context.path("gold_propositions") / f"{role}_sentences.jsonl"
    return read_rows(path, Sentence)


def comparisons(context: Context, split: str) -> list[Comparison]:
    return read_rows(context.path("synthetic_comparisons") / f"{split}.jsonl", Comparison)


def preferences(context: Context, key: str, split: str) -> list[Preference]:
    return read_rows(context.path(key) / f"{split}.jsonl", Preference)


def demonstrations(context: Context, key: str) -> list[Demonstration]:
    return read_rows(context.path(key) / "demonstrations.jsonl", Demonstration)


def helpful_prompts(context: Context) -> list[HelpfulPrompt]:
    return read_rows(context.path("helpful_preferences") / "prompts.jsonl", HelpfulPrompt)


def weights_digest(folder: Path) -> str:
    """SHA-256 of a model's weights, of all its shards."""
    from rbr.files import files_digest

    return files_digest(sorted(folder.glob("*.safetensors")))
