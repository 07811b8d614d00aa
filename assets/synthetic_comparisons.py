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
from rbr.comparisons.chat_writer import ChatWriter
from rbr.comparisons.compose import labels_of
from rbr.comparisons.conditioned import rejection_sample
from rbr.comparisons.synthetic import Draft, chosen_prompts, composed, distinct, requested
from rbr.comparisons.writers import LocalWriter, Writer
from rbr.data.rows import Comparison, PolicyPrompt
from rbr.files import read_json, write_rows
from rbr.grading.base import Grader
from rbr.reward.confirm import confirms, label_probability, true_propositions
from rbr.rules.rules import Rules

SOURCES = ("composed", "written", "generated")


@artifact(
    folder="data",
    group="rewards",
    inputs=("rules", "base_model", "grader", "safety_prompts"),
    rules=("names", "response_types", "roles", "completions", "classes", "told"),
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
    every = [[prompt.model_dump() for prompt in some] for some in prompts.values()]
    with context.checkpoints(digest, options, rules.digest, every) as checkpoints:
        writer = make_writer(context, rules, checkpoints)
        for split, chosen in chosen_prompts(
            prompts, options.prompts_per_type, options.heldout_per_type, seed
        ).items():
            drafts = composed(chosen, rules, options.bad_per_prompt, seed, split)
            written, shares = written_drafts(context, split, chosen, rules, grader, writer)
            metrics |= shares
            confirmed = confirm(context, split, distinct(drafts + written), rules, grader)
            write_rows(output / f"{split}.jsonl", confirmed)
            metrics[f"{split}_rows"] = len(confirmed)
            comparisons += confirmed
        if isinstance(writer, ChatWriter):
            # Not of the artifact: another run of the same requests takes other amounts.
            context.run.metrics(writer.metrics())
    return metrics | shares_of(comparisons)


def make_writer(context: Context, rules: Rules, checkpoints: Path) -> Writer:
    """Who writes what is not composed: a chat model where the profile names one, else the base model."""
    options, settings = context.settings.comparisons, context.settings
    if options.chat:
        return ChatWriter(
            options.chat,
            rules,
            options.max_new_tokens,
            options.temperature,
            settings.seed,
            checkpoints,
            context.progress,
        )
    return LocalWriter(
        context.path("base_model"),
        options.max_new_tokens,
        settings.evaluation.batch_size,
        options.temperature,
        settings.seed,
        checkpoints,
        context.progress,
        settings.scale,
    )


def written_drafts(
    context: Context,
    split: str,
    prompts: list[PolicyPrompt],
    rules: Rules,
    grader: Grader,
    writer: Writer,
) -> tuple[list[Draft], dict[str, float]]:
    """Completions that are written on request, and the share of requests that are met, by label.

    In train for a share of the prompts that have composed ones; for those without recipes in all splits.
    """
    options, seed = context.settings.comparisons, context.settings.seed
    share = options.generated_share if split == "train" else 0.0
    requests = requested(prompts, rules, share, options.bad_per_prompt, seed)
    if not requests:
        return [], {}
    accept, samples = confirms(grader, rules, options.confirm_floor), 0

    def counted(some: Sequence[Draft], texts: Sequence[str]) -> list[bool]:
        nonlocal samples
        samples += len(texts)
        return accept(some, texts)

    met = rejection_sample(
        requests,
        rules,
        prompts,
        writer,
        counted,
        options.attempts,
        options.examples,
        seed,
    )
    if isinstance(writer, ChatWriter):
        context.log(f"{split} comparisons: {writer.spent()}")
    shares = {}
    if split == "train":
        wanted, got = (Counter(request.label for request in some) for some in (requests, met))
        shares = {f"generated.met.{label}": got[label] / wanted[label] for label in sorted(wanted)}
        shares["generated.attempts"] = samples / len(requests)
    for label, (asked, kept) in only_written(requests, met, rules).items():
        shares[f"{split}.met.{label}"] = kept / asked
    return met, shares


def only_written(
    requests: Sequence[Draft], met: Sequence[Draft], rules: Rules
) -> dict[str, tuple[int, int]]:
    """Requests and those met, by ``type.label``, of response types that have no recipes."""

    def counts(drafts: Sequence[Draft]) -> Counter[str]:
        types = [(draft.prompt.response_type, draft.label) for draft in drafts]
        return Counter(f"{name}.{label}" for name, label in types if not labels_of(rules, name))

    asked, kept = counts(requests), counts(met)
    return {name: (asked[name], kept[name]) for name in sorted(asked)}


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
    shares = read_json(context.folder / "metrics.json").items()
    written = [(k, v) for k, v in shares if ".met." in k and not k.startswith("generated.")]
    by_request = pd.DataFrame(written, columns=["label", "share"])
    by_label = frame.groupby("label")["confirmed"].mean().rename("share").reset_index()
    total = pd.DataFrame({"confirmed": [frame["confirmed"].mean()]})
    why = "confirmed by the grader"
    met = between("share", gates.comparison_label_min, 1, "requests that the writer met")
    return [
        *([Part("written labels", by_request, [met])] if written else []),
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
