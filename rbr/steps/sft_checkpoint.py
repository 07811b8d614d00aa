"""Supervised fine-tuning of one variant."""

from __future__ import annotations

import random
import shutil

from rbr.files import write_json
from rbr.grading.base import Conversation
from rbr.steps import common
from rbr.steps.context import Context


def demonstrations(context: Context) -> list[tuple[Conversation, str]]:
    """Helpful answers; beside them, per variant, safety answers.

    helpful: none. human: the (simulated) annotators' preferred completions. rbr: the ideal
    completions of the synthetic comparisons (as the paper reuses them).
    """
    settings = context.settings.sft
    draw = random.Random(context.settings.seed)
    pairs = common.preferences(context, "helpful_preferences", "train")
    helpful: list[tuple[Conversation, str]] = [(row.conversation, row.chosen) for row in pairs]
    safety: list[tuple[Conversation, str]] = []
    if context.variant == "human":
        human = common.preferences(context, "human_preferences", "train")
        safety = [(row.conversation, row.chosen) for row in human]
    elif context.variant == "rbr":
        rows = common.comparisons(context, "train")
        safety = [
            (row.conversation, row.completion) for row in rows if row.label in ("ideal", "full")
        ]
    draw.shuffle(helpful)
    draw.shuffle(safety)
    chosen = [*helpful[: settings.helpful_demos], *safety[: settings.safety_demos]]
    draw.shuffle(chosen)
    return chosen


def run(context: Context) -> dict[str, float]:
    from rbr.training.common import digest_of
    from rbr.training.sft import train_sft

    settings = context.settings
    rows = demonstrations(context)
    key = digest_of(
        settings.sft, settings.seed, [[[m.content for m in talk], answer] for talk, answer in rows]
    )
    scratch = context.scratch("sft_checkpoint", key)
    context.tracker.message(f"fine-tuning {context.variant} on {len(rows)} demonstrations")
    with context.output("sft_checkpoint") as folder:
        metrics = train_sft(
            context.path("base_model"), rows, scratch, folder, settings, context.tracker
        )
        write_json(folder / "metrics.json", metrics)
    shutil.rmtree(scratch)
    return metrics
