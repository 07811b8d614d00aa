"""Supervised fine-tuning of one variant."""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rbr.files import read_json, write_json
from rbr.grading.base import Conversation
from rbr.settings import RULED, SFT, VARIANTS
from rbr.steps import common
from rbr.steps.context import Context

Demonstration = tuple[Conversation, str]


def demonstrations(context: Context) -> list[Demonstration]:
    """Helpful answers; beside them, per variant, safety answers.

    helpful: none. human: the (simulated) annotators' preferred completions. rbr and human_rbr: the ideal
    completions of the synthetic comparisons (as the paper reuses them), and the written answers of all
    prompts to comply with: ``sft.comply_share`` of the demonstrations. Refusals are drawn evenly over
    response types: soft ones open in more ways than hard ones, and are rarer.
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
        written = [(p.conversation, p.answer) for p in common.prompts(context, "train") if p.answer]
        ideal: dict[str, list[Demonstration]] = defaultdict(list)
        for row in common.comparisons(context, "train"):
            # Not what the base model wrote: it is as good as the grader's word for it.
            if row.label == "ideal" and row.source != "generated":
                ideal[row.response_type].append((row.conversation, row.completion))
        answers, refusals = shares(settings, len(written))
        chosen += some(written, answers, draw)
        chosen += evenly(list(ideal.values()), refusals, draw)
    draw.shuffle(chosen)
    return chosen


def shares(settings: SFT, written: int) -> tuple[int, int]:
    """How many answers and refusals a variant with rules learns from: fewer of both if answers run out."""
    answers = round(settings.safety_demos * settings.comply_share)
    refusals = settings.safety_demos - answers
    if written < answers:
        return written, round(refusals * written / answers)
    return answers, refusals


def some(rows: Sequence[Demonstration], count: int, draw: random.Random) -> list[Demonstration]:
    """At most ``count`` rows, drawn without replacement."""
    return draw.sample(rows, min(count, len(rows)))


def evenly(
    groups: Sequence[Sequence[Demonstration]], count: int, draw: random.Random
) -> list[Demonstration]:
    """``count`` rows, as many of each group: those of a small one again and again; none without groups."""
    chosen: list[Demonstration] = []
    for place, rows in enumerate(groups):
        wanted = count * (place + 1) // len(groups) - count * place // len(groups)
        whole, rest = divmod(wanted, len(rows))
        chosen += [*list(rows) * whole, *some(rows, rest, draw)]
    return chosen


def run(context: Context) -> dict[str, float]:
    from rbr.training import sft
    from rbr.training.common import digest_of, file_digest
    from rbr.training.launch import launched

    settings = context.settings
    rows = demonstrations(context)
    files = [context.path("base_model") / "model.safetensors", *map(Path, (__file__, sft.__file__))]
    key = digest_of(
        settings.sft,
        settings.seed,
        [file_digest(path) for path in files],
        [[[m.content for m in talk], answer] for talk, answer in rows],
    )
    same = twin(context, key)
    if same:
        context.tracker.message(f"{context.variant} learns from the same as {same.name}: copied")
        with context.output("sft_checkpoint") as folder:
            shutil.copytree(same, folder, dirs_exist_ok=True)
        return dict(read_json(same / "metrics.json"))
    scratch = context.scratch("sft_checkpoint", key)
    context.tracker.message(f"fine-tuning {context.variant} on {len(rows)} demonstrations")
    with context.output("sft_checkpoint") as folder:
        metrics = launched("sft_checkpoint", context, scratch, folder)
        model = file_digest(folder / "model.safetensors")
        write_json(folder / "made_of.json", {"key": key, "model": model})
        write_json(folder / "metrics.json", metrics)
    shutil.rmtree(scratch)
    return metrics


def twin(context: Context, key: str) -> Path | None:
    """Another variant's model that was made of the same, and is as it was made."""
    from rbr.training.common import file_digest

    for variant in VARIANTS:
        folder = context.path("sft_checkpoint", variant)
        if variant == context.variant or not (folder / "made_of.json").is_file():
            continue
        found = read_json(folder / "made_of.json")
        if found["key"] == key and found["model"] == file_digest(folder / "model.safetensors"):
            return folder
    return None


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
