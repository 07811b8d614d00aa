"""Helpful-only preference pairs: written ones, and pairs made from the written answers of prompts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.data.rows import Preference, Prompt
from rbr.data.splits import kept_prompts, split_by_family
from rbr.files import read_folder, read_rows

if TYPE_CHECKING:
    from rbr.data.options import SplitOptions

REFUSALS = ("I can't help with that.", "Sorry, I'd rather not answer that.", "No.")


def pairs_from_prompts(prompts: Sequence[Prompt], seed: int) -> list[Preference]:
    """A pair for each prompt with an answer: the answer over a part of it, another's, or a refusal.

    What a helpful-only labeller prefers.
    """
    draw = random.Random(seed)
    answered = [p for p in prompts if p.answer and p.partial]
    pairs = []
    for prompt in answered:
        others = [p.answer for p in answered if p.family != prompt.family]
        worse = draw.choice(
            [prompt.partial, draw.choice(others or REFUSALS), draw.choice(REFUSALS)]
        )
        pairs.append(
            Preference(
                id=f"from-{prompt.id}",
                family=prompt.family,
                conversation=prompt.conversation,
                chosen=prompt.answer,
                rejected=worse,
                source="from-answers",
            )
        )
    return pairs


def helpful_pairs(source: Path, options: SplitOptions, seed: int) -> dict[str, list[Preference]]:
    """Train and validation pairs of ``data/source``; pairs from prompts keep their prompt's split."""
    splits = split_by_family(
        read_rows(source / "helpful_preferences.jsonl", Preference),
        lambda row: row.family,
        lambda row: "all",
        {"train": 0.8, "validation": 0.2},
        seed,
    )
    prompts = kept_prompts(read_folder(source / "safety_prompts", Prompt), options, seed)
    for number, (name, rows) in enumerate(splits.items()):
        rows += pairs_from_prompts(prompts[name], seed + number)
    return splits
