"""Completions made to order for every prompt, each confirmed by the grader."""

from __future__ import annotations

import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from rbr.comparisons.compose import compose, labels_of
from rbr.comparisons.conditioned import Order, fulfilled, orders
from rbr.comparisons.confirm import label_probability, said
from rbr.data.rows import Comparison, PolicyPrompt
from rbr.files import write_json, write_rows
from rbr.grading.base import Conversation, Grader
from rbr.rules import Rules
from rbr.steps import common
from rbr.steps.context import Context

SOURCES = ("composed", "written", "generated")

# Prompt, label, source, completion, and the propositions that it was made to have.
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


def composed(prompts: list[PolicyPrompt], context: Context, rules: Rules, split: str) -> list[Made]:
    """Composed completions of each prompt and label; of a comply prompt also its written ones."""
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


def ordered(prompts: list[PolicyPrompt], context: Context, rules: Rules) -> list[Order]:
    """What the base model is asked for."""
    seed = context.settings.seed
    count = round(len(prompts) * context.settings.comparisons.generated_share)
    some = random.Random(seed).sample(prompts, min(count, len(prompts)))
    return orders(some, rules, prompts, seed)


def generated(
    prompts: list[PolicyPrompt], context: Context, rules: Rules, grader: Grader, scratch: Path
) -> tuple[list[Made], dict[str, float]]:
    """Completions that the base model made to order, and the share of orders that it met.

    Args:
        scratch: answers are kept here as they come; those that are there are not made again.
    """
    from rbr.evaluation.generate import generate
    from rbr.training.common import digest_of

    settings, seed = context.settings.comparisons, context.settings.seed
    wanted = ordered(prompts, context, rules)

    times = 0

    def sample(talks: Sequence[Conversation], attempt: int) -> list[str]:
        nonlocal times
        times += len(talks)
        key = digest_of([[m.model_dump() for m in talk] for talk in talks])
        return generate(
            context.path("base_model"),
            talks,
            settings.max_new_tokens,
            context.settings.evaluation.batch_size,
            kept=scratch / f"{key}.jsonl",
            progress=common.Reporter(context, f"generating comparisons, attempt {attempt + 1}"),
            sample_seed=seed + 1000 * attempt,
            temperature=settings.temperature,
            scale=context.settings.scale,
        )

    made = fulfilled(
        wanted,
        rules,
        prompts,
        sample,
        grader,
        settings.attempts,
        settings.examples,
        settings.confirm_floor,
        seed,
    )
    asked, met = (Counter(order.label for order in own) for own in (wanted, made))
    metrics = {f"generated.met.{label}": met[label] / asked[label] for label in sorted(asked)}
    metrics["generated.attempts"] = times / max(1, len(wanted))
    return [(o.prompt, o.label, "generated", o.completion, o.true) for o in distinct(made)], metrics


def distinct(made: Sequence[Order]) -> list[Order]:
    """A prompt's completions without repetition."""
    return list({(order.prompt.id, order.completion): order for order in made}.values())


def run(context: Context) -> dict[str, float]:
    from rbr.training.common import digest_of, file_digest

    settings = context.settings.comparisons
    rules = context.rules
    model = context.path("base_model") / "model.safetensors"
    scratch = context.scratch("synthetic_comparisons", digest_of(file_digest(model), settings))
    grader = common.load_grader(context)
    result: dict[str, list[Comparison]] = {}
    metrics: dict[str, float] = {}
    prompts = {split: common.prompts(context, split) for split in common.SPLITS}
    for split, chosen in chosen_prompts(prompts, context).items():
        made = composed(chosen, context, rules, split)
        if split == "train" and settings.generated_share:
            own, told = generated(chosen, context, rules, grader, scratch)
            made += own
            metrics.update(told)
        graded = grader.grade(
            [row[0].conversation for row in made],
            [row[3] for row in made],
            common.Reporter(context, f"grading {split} comparisons"),
        )
        rows = []
        for i, (prompt, label, source, completion, true) in enumerate(made):
            mass = label_probability(graded[i], grader, rules, prompt.response_type, label)
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
                    graded=said(graded[i], grader),
                    label_probability=round(mass, 6),
                    confirmed=bool(mass >= settings.confirm_floor),
                )
            )
        result[split] = rows
    everything = [row for rows in result.values() for row in rows]
    metrics |= {f"{split}_rows": float(len(rows)) for split, rows in result.items()}
    metrics["confirmed"] = sum(row.confirmed for row in everything) / len(everything)
    for source in SOURCES:
        metrics[f"share.{source}"] = sum(r.source == source for r in everything) / len(everything)
    for label in sorted({row.label for row in everything}):
        confirmed = [row.confirmed for row in everything if row.label == label]
        metrics[f"confirmed.{label}"] = sum(confirmed) / len(confirmed)
    with context.output("synthetic_comparisons") as folder:
        for split, rows in result.items():
            write_rows(folder / f"{split}.jsonl", rows)
        write_json(folder / "metrics.json", metrics)
    shutil.rmtree(scratch)
    return metrics
