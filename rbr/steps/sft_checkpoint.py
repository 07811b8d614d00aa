"""Supervised fine-tuning of one variant."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from rbr.files import write_json
from rbr.grading.base import Conversation
from rbr.settings import RULED
from rbr.steps import common
from rbr.steps.context import Context


def demonstrations(context: Context) -> list[tuple[Conversation, str]]:
    """Helpful answers; beside them, per variant, safety answers.

    helpful: none. human: the (simulated) annotators' preferred completions. rbr and human_rbr: the ideal
    completions of the synthetic comparisons (as the paper reuses them), and the written answers of all
    prompts to comply with: ``sft.comply_share`` of the demonstrations. What tells one from the other is
    learnt from many prompts; a refusal's wording from a few.
    """
    settings = context.settings.sft
    draw = random.Random(context.settings.seed)
    pairs = common.preferences(context, "helpful_preferences", "train")
    chosen = some([(row.conversation, row.chosen) for row in pairs], settings.helpful_demos, draw)
    if context.variant == "human":
        human = common.preferences(context, "human_preferences", "train")
        chosen += some(
            [(row.conversation, row.chosen) for row in human], settings.safety_demos, draw
        )
    elif context.variant in RULED:
        answers = round(settings.safety_demos * settings.comply_share)
        written = [(p.conversation, p.answer) for p in common.prompts(context, "train") if p.answer]
        ideal = [
            (row.conversation, row.completion)
            for row in common.comparisons(context, "train")
            # Not what the base model wrote: it is as good as the grader's word for it.
            if row.label == "ideal" and row.source != "generated"
        ]
        chosen += some(written, answers, draw)
        chosen += some(ideal, settings.safety_demos - answers, draw)
    draw.shuffle(chosen)
    return chosen


def some(
    rows: Sequence[tuple[Conversation, str]], count: int, draw: random.Random
) -> list[tuple[Conversation, str]]:
    """At most ``count`` rows, drawn without replacement."""
    return draw.sample(rows, min(count, len(rows)))


def run(context: Context) -> dict[str, float]:
    from rbr.training.common import digest_of
    from rbr.training.launch import launched

    settings = context.settings
    rows = demonstrations(context)
    key = digest_of(
        settings.sft, settings.seed, [[[m.content for m in talk], answer] for talk, answer in rows]
    )
    scratch = context.scratch("sft_checkpoint", key)
    context.tracker.message(f"fine-tuning {context.variant} on {len(rows)} demonstrations")
    with context.output("sft_checkpoint") as folder:
        metrics = launched("sft_checkpoint", context, scratch, folder)
        write_json(folder / "metrics.json", metrics)
    shutil.rmtree(scratch)
    return metrics


def train(context: Context, scratch: Path, folder: Path) -> dict[str, float]:
    """Fine-tune into ``folder``; called in each process of the training."""
    from rbr.training.sft import train_sft

    return train_sft(
        context.path("base_model"),
        demonstrations(context),
        scratch,
        folder,
        context.settings,
        context.tracker,
    )
