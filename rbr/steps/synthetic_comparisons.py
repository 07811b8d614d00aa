"""Completions made to order for every prompt, each confirmed by the grader."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping

from rbr.classes import class_probabilities
from rbr.comparisons.compose import compose, labels_of
from rbr.data.rows import Comparison, PolicyPrompt
from rbr.features import graded as under_rules
from rbr.files import write_json, write_rows
from rbr.rules import Rules
from rbr.steps import common
from rbr.steps.context import Context

# The class that a label's completions should be graded as, at best or at worst.
GOOD_CLASSES = {
    "ideal": {"ideal"},
    "full": {"ideal", "minimum_acceptable_style"},
    "partial": {"ideal", "minimum_acceptable_style"},
    "refusal": {"unacceptable_completion"},
    "off_topic": {"illogical_completion", "unacceptable_completion"},
    "bad": {"minimum_acceptable_style", "unacceptable_completion", "illogical_completion"},
    "disallowed": {"disallowed_completion"},
}


Made = tuple[PolicyPrompt, str, str, str, tuple[str, ...]]


def chosen_prompts(
    splits: Mapping[str, list[PolicyPrompt]], context: Context
) -> dict[str, list[PolicyPrompt]]:
    """The prompts that get comparisons: no more of a response type than the profile says."""
    settings = context.settings.comparisons
    draw = random.Random(context.settings.seed)
    chosen = {}
    for split in common.SPLITS:
        by_type: dict[str, list[PolicyPrompt]] = defaultdict(list)
        for prompt in splits[split]:
            by_type[prompt.response_type].append(prompt)
        most = settings.prompts_per_type if split == "train" else settings.heldout_per_type
        chosen[split] = [
            p for own in by_type.values() for p in draw.sample(own, min(most, len(own)))
        ]
    return chosen


def generated_from(prompts: list[PolicyPrompt], context: Context) -> list[PolicyPrompt]:
    """Those of the train prompts that the base model answers too."""
    count = round(len(prompts) * context.settings.comparisons.generated_share)
    return random.Random(context.settings.seed).sample(prompts, min(count, len(prompts)))


def made_to_order(
    prompts: list[PolicyPrompt], context: Context, rules: Rules, split: str
) -> list[Made]:
    """``(prompt, label, source, completion, true)`` for each prompt and label."""
    settings = context.settings.comparisons
    draw = random.Random(f"{context.settings.seed}:{split}")
    rows = []
    for prompt in prompts:
        for label in labels_of(rules, prompt.response_type):
            count = settings.bad_per_prompt if label == "bad" else 1
            seen: set[str] = set()
            for _ in range(count):
                made = compose(prompt, label, rules, prompts, draw)
                for _ in range(20):
                    if made.completion not in seen:
                        break
                    made = compose(prompt, label, rules, prompts, draw)
                seen.add(made.completion)
                written = made.completion in (prompt.answer, prompt.partial)
                source = "written" if written else "composed"
                rows.append((prompt, label, source, made.completion, made.true))
    return rows


def generated(prompts: list[PolicyPrompt], context: Context) -> list[Made]:
    """Completions of the base model that the grader finds to be of a label.

    The base model is sampled as it is; its answers to comply prompts that the grader takes for
    complete ones, and to refusal prompts that it takes for disallowed or unacceptable, become rows.
    """
    from rbr.evaluation.generate import generate

    settings = context.settings.comparisons
    chosen = generated_from(prompts, context)
    texts = generate(
        context.path("base_model"),
        [p.conversation for p in chosen],
        settings.max_new_tokens,
        context.settings.evaluation.batch_size,
        progress=common.Reporter(context, "generating comparisons"),
        sample_seed=context.settings.seed,
        scale=context.settings.scale,
    )
    grader = common.load_grader(context)
    graded = grader.grade([p.conversation for p in chosen], texts)
    holds = graded >= grader.thresholds
    rules = context.rules
    rows = []
    for i, (prompt, text) in enumerate(zip(chosen, texts, strict=True)):
        if not text:
            continue
        ruled = under_rules(graded[i : i + 1], grader.propositions, rules, prompt.response_type)
        p = class_probabilities(ruled, rules, prompt.response_type)[0]
        name = rules.class_names[int(p.argmax())]
        if p.max() < 0.6:
            continue
        if prompt.response_type == "comply":
            label = {"ideal": "partial", "illogical_completion": "off_topic"}.get(name)
        else:
            label = {
                "unacceptable_completion": "bad",
                "minimum_acceptable_style": "bad",
                "disallowed_completion": "disallowed",
            }.get(name)
        if label:
            true = tuple(
                sorted(n for n, said in zip(grader.propositions, holds[i], strict=True) if said)
            )
            rows.append((prompt, label, "generated", text, true))
    return rows


def run(context: Context) -> dict[str, float]:
    settings = context.settings.comparisons
    rules = context.rules
    grader = common.load_grader(context)
    result: dict[str, list[Comparison]] = {}
    prompts = {split: common.prompts(context, split) for split in common.SPLITS}
    for split, chosen in chosen_prompts(prompts, context).items():
        made = made_to_order(chosen, context, rules, split)
        if split == "train":
            made += generated(chosen, context)
        graded = grader.grade(
            [row[0].conversation for row in made],
            [row[3] for row in made],
            common.Reporter(context, f"grading {split} comparisons"),
        )
        rows = []
        for i, (prompt, label, source, completion, true) in enumerate(made):
            ruled = under_rules(graded[i : i + 1], grader.propositions, rules, prompt.response_type)
            p = class_probabilities(ruled, rules, prompt.response_type)[0]
            mass = sum(
                p[rules.class_names.index(name)] for name in GOOD_CLASSES.get(label, {"ideal"})
            )
            rows.append(
                Comparison(
                    id=f"{split}-{i:05d}",
                    prompt_id=prompt.id,
                    family=prompt.family,
                    response_type=prompt.response_type,
                    label=label,
                    source=source,  # type: ignore[arg-type]
                    conversation=prompt.conversation,
                    completion=completion,
                    true=true,
                    label_probability=round(float(mass), 6),
                    confirmed=bool(mass >= settings.confirm_floor),
                )
            )
        result[split] = rows
    everything = [row for rows in result.values() for row in rows]
    metrics = {f"{split}_rows": float(len(rows)) for split, rows in result.items()}
    metrics["confirmed"] = sum(row.confirmed for row in everything) / len(everything)
    for source in ("composed", "written", "generated"):
        metrics[f"share.{source}"] = sum(r.source == source for r in everything) / len(everything)
    for label in sorted({row.label for row in everything}):
        own = [row.confirmed for row in everything if row.label == label]
        metrics[f"confirmed.{label}"] = sum(own) / len(own)
    with context.output("synthetic_comparisons") as folder:
        for split, rows in result.items():
            write_rows(folder / f"{split}.jsonl", rows)
        write_json(folder / "metrics.json", metrics)
    return metrics
