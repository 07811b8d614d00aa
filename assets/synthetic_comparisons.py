"""Completions with a wanted label for every prompt, each confirmed by the grader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.gates import (
    Part,
    between,
    no_empty_split,
    no_leak,
    present,
    split_files,
    unique,
    unique_together,
)
from pipeline.loading import stored_grader
from rbr.comparisons.compose import labels_of
from rbr.comparisons.conditioned import rejection_sample
from rbr.comparisons.synthetic import Draft, chosen_prompts, composed, distinct, requested
from rbr.data.rows import Comparison, Conversation, PolicyPrompt
from rbr.files import digest_of, write_rows
from rbr.grading.base import Grader
from rbr.reward.confirm import confirms, label_probability, true_propositions
from rbr.rules.rules import Rules

SOURCES = ("composed", "written", "generated")


@artifact(
    folder="data",
    group="rewards",
    inputs=("rules", "base_model", "grader", "safety_prompts"),
    rules=("names", "response_types", "roles", "completions", "classes"),
    settings=("comparisons",),
    pool="grader",
)
def synthetic_comparisons(context: Context, output: Path) -> Mapping[str, float]:
    """Completions made to order: each with a wanted label, confirmed by the grader."""
    rules, options, seed = (
        compiled_rules(context),
        context.settings.comparisons,
        context.settings.seed,
    )
    grader = stored_grader(context, rules)
    prompts = {split: rows.safety_prompts(context, split) for split in rows.SPLITS}
    comparisons: list[Comparison] = []
    metrics: dict[str, float] = {}
    digest = rows.weights_digest(context.path("base_model"))
    with context.checkpoints(digest, options, rules.digest, prompts["train"]) as checkpoints:
        for split, chosen in chosen_prompts(
            prompts, options.prompts_per_type, options.heldout_per_type, seed
        ).items():
            drafts = composed(chosen, rules, options.bad_per_prompt, seed, split)
            if split == "train" and options.generated_share:
                generated, shares = generate_drafts(context, chosen, rules, grader, checkpoints)
                drafts += generated
                metrics |= shares
            confirmed = confirm(context, split, drafts, rules, grader)
            write_rows(output / f"{split}.jsonl", confirmed)
            metrics[f"{split}_rows"] = len(confirmed)
            comparisons += confirmed
    return metrics | shares_of(comparisons)


def generate_drafts(
    context: Context,
    prompts: list[PolicyPrompt],
    rules: Rules,
    grader: Grader,
    checkpoints: Path,
) -> tuple[list[Draft], dict[str, float]]:
    """Completions that the base model writes on request, and the share of requests that it meets."""
    from rbr.models.generate import generate

    options, seed = context.settings.comparisons, context.settings.seed
    requests = requested(prompts, rules, options.generated_share, seed)
    asked = 0

    def sample(conversations: Sequence[Conversation], attempt: int) -> list[str]:
        nonlocal asked
        asked += len(conversations)
        turns = [[m.model_dump() for m in conversation] for conversation in conversations]
        answers = generate(
            context.path("base_model"),
            conversations,
            options.max_new_tokens,
            context.settings.evaluation.batch_size,
            kept=checkpoints / f"{digest_of(turns, attempt)}.jsonl",
            progress=context.progress(f"generating comparisons, attempt {attempt + 1}"),
            sample_seed=seed + 1000 * attempt,
            temperature=options.temperature,
            scale=context.settings.scale,
        )
        return [answer.text for answer in answers]

    met = rejection_sample(
        requests,
        rules,
        prompts,
        sample,
        confirms(grader, rules, options.confirm_floor),
        options.attempts,
        options.examples,
        seed,
    )
    wanted, got = (Counter(request.label for request in some) for some in (requests, met))
    shares = {f"generated.met.{label}": got[label] / wanted[label] for label in sorted(wanted)}
    shares["generated.attempts"] = asked / max(1, len(requests))
    return distinct(met), shares


def confirm(
    context: Context, split: str, drafts: Sequence[Draft], rules: Rules, grader: Grader
) -> list[Comparison]:
    """Grade the drafts of a split: a comparison for each, confirmed or not."""
    floor = context.settings.comparisons.confirm_floor
    grades = grader.grade(
        [draft.prompt.conversation for draft in drafts],
        [draft.completion for draft in drafts],
        context.progress(f"grading {split} comparisons"),
    )
    comparisons = []
    for number, (draft, p) in enumerate(zip(drafts, grades, strict=True)):
        mass = label_probability(p, grader, rules, draft.prompt.response_type, draft.label)
        comparisons.append(
            Comparison(
                id=f"{split}-{number:05d}",
                prompt_id=draft.prompt.id,
                family=draft.prompt.family,
                response_type=draft.prompt.response_type,
                label=draft.label,
                source=draft.source,
                conversation=draft.prompt.conversation,
                completion=draft.completion,
                true=draft.true,
                graded=true_propositions(p, grader),
                label_probability=round(mass, 6),
                confirmed=bool(mass >= floor),
            )
        )
    return comparisons


def shares_of(comparisons: Sequence[Comparison]) -> dict[str, float]:
    """The share of each source, and the share that the grader confirms, by label too."""
    share = partial(_share, comparisons)
    metrics = {"confirmed": share(lambda row: row.confirmed)}
    for source in SOURCES:
        metrics[f"share.{source}"] = share(lambda row, name=source: row.source == name)
    for label in sorted({row.label for row in comparisons}):
        labelled = [row for row in comparisons if row.label == label]
        metrics[f"confirmed.{label}"] = _share(labelled, lambda row: row.confirmed)
    return metrics


def _share(comparisons: Sequence[Comparison], holds: Any) -> float:
    return sum(bool(holds(row)) for row in comparisons) / len(comparisons)


@synthetic_comparisons.gate
def expectations(context: Context) -> list[Part]:
    gates, rules = context.settings.gates, compiled_rules(context)
    frame = split_files(context.folder)
    frame["characters"] = frame["completion"].str.len()
    labels = frame.groupby("prompt_id")["label"].agg(set)
    response_types = frame.groupby("prompt_id")["response_type"].first()
    wanted = {name: set(labels_of(rules, name)) for name in rules.response_types}
    missing = [len(wanted[kind] - labels[prompt]) for prompt, kind in response_types.items()]
    by_prompt = pd.DataFrame({"prompt": response_types.index, "missing": missing})
    by_label = frame.groupby("label")["confirmed"].mean().rename("share").reset_index()
    total = pd.DataFrame({"confirmed": [frame["confirmed"].mean()]})
    why = "confirmed by the grader"
    return [
        Part(
            "completions",
            frame[["id", "prompt_id", "label", "completion", "characters", "split"]],
            [
                *present("completion", "label"),
                *unique("id"),
                between("characters", 1, 4000, "length limits"),
                unique_together("prompt_id", "completion"),
            ],
        ),
        Part("labels", by_prompt, [between("missing", 0, 0, "each prompt has each label")]),
        Part(
            "confirmed by label", by_label, [between("share", gates.comparison_label_min, 1, why)]
        ),
        Part("confirmed", total, [between("confirmed", gates.comparison_confirmed_min, 1, why)]),
        no_empty_split(frame),
        no_leak(frame),
    ]
