"""What supervised fine-tuning learns from: helpful answers, and answers to safety prompts."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from rbr.data.rows import Conversation

if TYPE_CHECKING:
    from rbr.data.rows import Comparison, PolicyPrompt, Preference
    from rbr.training.options import SFTOptions

Demonstration = tuple[Conversation, str]


def demonstrations(
    helpful: Sequence[Preference],
    human: Sequence[Preference] | None,
    comparisons: Sequence[Comparison] | None,
    best_labels: Mapping[str, Sequence[str]],
    to_refuse: Collection[str],
    prompts: Sequence[PolicyPrompt],
    options: SFTOptions,
    seed: int,
) -> list[Demonstration]:
    """Preferred helpful answers, and beside them answers to safety prompts, shuffled.

    Args:
        human: pairs whose preferred completions are learnt; None for none.
        comparisons: synthetic comparisons whose ideal completions are learnt, as the paper reuses them.
            ``options.comply_share`` of the demonstrations are on prompts to comply with. Both kinds are
            drawn evenly over response types: soft refusals open in more ways than hard ones, and are
            rarer.
        best_labels: response type -> labels whose completions are ideal; see ``Rules.best_labels``.
        to_refuse: the response types that count as unsafe.
        prompts: their written answers are learnt where a response type has no ideal completions.
    """
    draw = random.Random(seed)
    chosen = some([(row.conversation, row.chosen) for row in helpful], options.helpful_demos, draw)
    if human is not None:
        preferred = [(row.conversation, row.chosen) for row in human]
        chosen += some(preferred, options.safety_demos, draw)
    elif comparisons is not None:
        ideal: dict[str, list[Demonstration]] = defaultdict(list)
        for row in comparisons:
            # Not what the base model wrote: it is as good as the grader's word for it.
            if row.label in best_labels.get(row.response_type, ()) and row.source != "generated":
                ideal[row.response_type].append((row.conversation, row.completion))
        written: list[Demonstration] = [
            (p.conversation, p.answer) for p in prompts if p.answer and p.response_type not in ideal
        ]
        complying = [rows for name, rows in ideal.items() if name not in to_refuse]
        refusing = [rows for name, rows in ideal.items() if name in to_refuse]
        if written:
            complying.append(written)
        answers, refusals = answers_and_refusals(options, sum(map(len, complying)))
        chosen += evenly(complying, answers, draw)
        chosen += evenly(refusing, refusals, draw)
    draw.shuffle(chosen)
    return chosen


def answers_and_refusals(options: SFTOptions, written: int) -> tuple[int, int]:
    """How many answers and refusals are learnt: fewer of both where answers run out."""
    answers = round(options.safety_demos * options.comply_share)
    refusals = options.safety_demos - answers
    if written < answers:
        return written, round(refusals * written / answers)
    return answers, refusals


def some(rows: Sequence[Demonstration], count: int, draw: random.Random) -> list[Demonstration]:
    """At most ``count`` rows, drawn without replacement."""
    return draw.sample(rows, min(count, len(rows)))


def evenly(
    groups: Sequence[Sequence[Demonstration]], count: int, draw: random.Random
) -> list[Demonstration]:
    """``count`` rows, equally many of each group: a small group's repeatedly; none without groups."""
    chosen: list[Demonstration] = []
    for place, rows in enumerate(groups):
        wanted = count * (place + 1) // len(groups) - count * place // len(groups)
        whole, rest = divmod(wanted, len(rows))
        chosen += [*list(rows) * whole, *some(rows, rest, draw)]
    return chosen
