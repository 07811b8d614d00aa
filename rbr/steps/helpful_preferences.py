"""Helpful-only preference pairs and RL prompts; the pairs are split by family."""

from __future__ import annotations

import random

from rbr.data.rows import HelpfulPrompt, Preference, Prompt
from rbr.data.splits import kept_prompts, split_by_family
from rbr.files import read_folder, read_rows, write_json, write_rows
from rbr.steps.context import Context

REFUSALS = ("I can't help with that.", "Sorry, I'd rather not answer that.", "No.")


def from_prompts(prompts: list[Prompt], seed: int) -> list[Preference]:
    """A pair for each prompt that has an answer: its written answer over a part of it, another's, or a refusal.

    What a helpful-only labeller prefers; the prompts keep the split that they have.
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


def pairs_by_split(context: Context) -> dict[str, list[Preference]]:
    """The written pairs, and those made from prompts' answers."""
    pairs = read_rows(context.source / "helpful_preferences.jsonl", Preference)
    splits = split_by_family(
        pairs,
        lambda row: row.family,
        lambda row: "all",
        {"train": 0.8, "validation": 0.2},
        context.settings.seed,
    )
    written = kept_prompts(
        read_folder(context.source / "safety_prompts", Prompt),
        context.settings.prompts,
        context.settings.seed,
    )
    for number, (name, rows) in enumerate(splits.items()):
        rows += from_prompts(written[name], context.settings.seed + number)
    return splits


def run(context: Context) -> dict[str, float]:
    splits = pairs_by_split(context)
    prompts = read_rows(context.source / "helpful_prompts.jsonl", HelpfulPrompt)
    metrics: dict[str, float] = {f"{name}_pairs": len(rows) for name, rows in splits.items()}
    metrics["prompts"] = len(prompts)
    with context.output("helpful_preferences") as folder:
        for name, rows in splits.items():
            write_rows(folder / f"{name}.jsonl", rows)
        write_rows(folder / "prompts.jsonl", prompts)
        write_json(folder / "metrics.json", metrics)
    return metrics
