"""Preference pairs: helpful-only ones, and those of SIMULATED human annotators.

Helpful-only pairs are written, or made from the written answers of prompts. No human labelled the
safety preferences: the annotators are simulated, and over-cautious, as the paper found people to be
(section 5). Where refusing is over-refusal they prefer, with probability ``overcaution``, a refusal to the
answer; ``noise`` is the probability that a label is flipped. They do not know the rules' ordering: their
taste stands in ``rules/completions.yaml``.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.data.rows import Comparison, Preference, Prompt
from rbr.data.splits import SplitOptions, kept_prompts, split_by_family
from rbr.data.words import normalised
from rbr.files import read_rows

if TYPE_CHECKING:
    from rbr.rules.rules import Rules

# The refusals are in English: of other prompts the reward model would learn that a language is bad.
ENGLISH = "en"
# Words that few English prompts do without, answer and all, and that no other language has many of.
ENGLISH_WORDS = {
    *("the", "and", "with", "how", "what", "why", "which", "you", "your"),
    *("this", "that", "it", "are", "does", "from", "would", "should"),
}
REFUSALS = ("I can't help with that.", "Sorry, I'd rather not answer that.", "No.")


def pairs_from_prompts(prompts: Sequence[Prompt], seed: int) -> list[Preference]:
    """A pair for each prompt with an answer: the answer over a part of it, another's, or a refusal.

    What a helpful-only labeller prefers. A refusal only of prompts in English: those that name it, and those
    that name no language if most such prompts read as English.
    """
    draw = random.Random(seed)
    answered = [p for p in prompts if p.answer and p.partial]
    unnamed = [reads_as_english(p) for p in answered if p.language is None]
    languages = {ENGLISH, None} if 2 * sum(unnamed) > len(unnamed) else {ENGLISH}
    pairs = []
    for prompt in answered:
        others = [
            p.answer for p in answered if p.family != prompt.family and p.answer != prompt.answer
        ]
        english = prompt.language in languages
        # As many in any language: what is drawn for other prompts stays the same.
        refusals = [
            text if english else prompt.partial for text in REFUSALS if text != prompt.answer
        ]
        worse = draw.choice(
            [prompt.partial, draw.choice(others or refusals), draw.choice(refusals)]
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


def reads_as_english(prompt: Prompt) -> bool:
    """Whether a prompt or its answers have a word that is common in English alone."""
    turns = " ".join(turn.content for turn in prompt.conversation)
    words = normalised(f"{turns} {prompt.answer} {prompt.partial}").split()
    return not ENGLISH_WORDS.isdisjoint(words)


def helpful_pairs(source: Path, options: SplitOptions, seed: int) -> dict[str, list[Preference]]:
    """Train and validation pairs of ``data/source``; pairs from prompts keep their prompt's split."""
    splits = split_by_family(
        read_rows(source / "helpful_preferences.jsonl", Preference),
        lambda row: row.family,
        lambda row: "all",
        {"train": 0.8, "validation": 0.2},
        seed,
    )
    prompts = kept_prompts(read_rows(source / "safety_prompts", Prompt), options, seed)
    for number, (name, rows) in enumerate(splits.items()):
        rows += pairs_from_prompts(prompts[name], seed + number)
    return splits


def simulated_preferences(
    rows: Sequence[Comparison],
    rules: Rules,
    overcaution: float,
    noise: float,
    seed: int,
    prefix: str,
) -> list[Preference]:
    """Two pairs a prompt, labelled by the simulated annotators; all have ``simulated`` set."""

    ranks = {label: r for r, labels in enumerate(rules.completions.taste) for label in labels}

    def rank(row: Comparison) -> int:
        # One that the annotators have no taste for stands with the flawed answers.
        return ranks.get(row.label, 1)

    draw = random.Random(seed)
    by_prompt: dict[str, list[Comparison]] = defaultdict(list)
    for row in rows:
        by_prompt[row.prompt_id].append(row)
    pairs: list[Preference] = []
    for members in by_prompt.values():
        for _ in range(2 if len(members) > 1 else 0):
            one, other = draw.sample(members, 2)
            if rank(one) == rank(other) or one.completion == other.completion:
                continue
            better, worse = sorted((one, other), key=rank)
            needless = rules.over_refusal(worse.response_type) and rules.means(
                "refused", worse.true
            )
            if needless and draw.random() < overcaution:
                better, worse = worse, better
            if draw.random() < noise:
                better, worse = worse, better
            pairs.append(
                Preference(
                    id=f"{prefix}-{len(pairs):05d}",
                    family=members[0].family,
                    conversation=members[0].conversation,
                    chosen=better.completion,
                    rejected=worse.completion,
                    source="simulated-annotator",
                    simulated=True,
                )
            )
    return pairs
