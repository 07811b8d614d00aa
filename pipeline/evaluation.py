"""Evaluating models into an artifact."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.loading import load_judge_grader
from pipeline.rows import weights_digest
from rbr.data.rows import CapabilityItem, CapabilityText, PolicyPrompt
from rbr.files import read_rows, write_json, write_rows
from rbr.grading.base import usage_metrics

if TYPE_CHECKING:
    from rbr.evaluation.fluency import Fluency
    from rbr.evaluation.judge import Judge

CAPABILITY_SOURCES = ("data/source/capability.jsonl", "data/source/capability_text.jsonl")


def evaluate(
    context: Context, models: Mapping[str, Path], output: Path, prompts: Sequence[PolicyPrompt]
) -> dict[str, float]:
    """Evaluate each model on prompts, and write results and completions.

    Returns:
        The metrics that have a value: those on prompts to be complied with have none where there are none.
    """
    from rbr.evaluation.behaviour import TYPE_METRICS
    from rbr.evaluation.fluency import Fluency
    from rbr.evaluation.judge import Judge

    fluency = Fluency(context.path("base_model"))
    grader = load_judge_grader(context)
    judge = Judge(grader, compiled_rules(context))
    results: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    for name, result, rows in judged_models(context, models, prompts, judge, "prompts", fluency):
        results[name] = result
        write_rows(output / f"{name}.jsonl", rows)
        for metric, (value, low, high) in result["metrics"].items():
            if math.isnan(value):
                continue
            metrics[f"{name}.{metric}"] = value
            metrics[f"{name}.{metric}.low"] = low
            metrics[f"{name}.{metric}.high"] = high
        for response_type, found in result["types"].items():
            for metric in TYPE_METRICS:
                metrics[f"{name}.{metric}.{response_type}"] = found[metric][0]
        context.run.table(f"{context.artifact.name}_{name}", rows[:40])
    write_json(output / "results.json", results)
    # Not of the artifact: it depends on what the grade store held.
    context.run.metrics(usage_metrics(grader))
    return metrics


def judged_models(
    context: Context,
    models: Mapping[str, Path],
    prompts: Sequence[PolicyPrompt],
    judge: Judge,
    what: str,
    fluency: Fluency | None = None,
) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """Each model's name, result and rows, see ``evaluate_model``; what a stopped run answered is kept.

    Args:
        what: the prompts, in the words of the progress.
    """
    from rbr.evaluation.safety import evaluate_model

    options = context.settings.evaluation
    digests = {name: weights_digest(path) for name, path in models.items()}
    with context.checkpoints(digests, options, prompts) as checkpoints:
        for name, path in models.items():
            result, rows = evaluate_model(
                path,
                prompts,
                judge,
                options.max_new_tokens,
                options.batch_size,
                options.bootstrap,
                kept=checkpoints / f"{name}.jsonl",
                progress=context.progress(f"answering {what} with {name}"),
                scale=context.settings.scale,
                fluency=fluency,
            )
            yield name, result, rows


def measure_capability(
    context: Context, models: Mapping[str, Path], output: Path
) -> dict[str, float]:
    """Each model's held-out loss, and its accuracy over items with Wilson's 95 % interval, and by kind.

    ``items.jsonl`` gets a row for each item: ``id``, ``kind``, and whether each model is right.
    """
    from rbr.evaluation.capability import capability
    from rbr.evaluation.clusters import wilson

    items = read_rows(context.source / "capability.jsonl", CapabilityItem)
    items = items[: context.settings.evaluation.capability_items]
    texts = read_rows(context.source / "capability_text.jsonl", CapabilityText)
    values: dict[str, float] = {}
    rows: list[dict[str, Any]] = [{"id": item.id, "kind": item.kind} for item in items]
    for name, model in models.items():
        context.log(f"capability of {name}")
        found, right = capability(model, items, texts)
        values |= {f"{name}.{metric}": value for metric, value in found.items()}
        _, low, high = wilson(sum(right), len(items))
        values |= {f"{name}.accuracy.low": low, f"{name}.accuracy.high": high}
        rows = [{**row, name: own} for row, own in zip(rows, right, strict=True)]
        for kind in sorted({item.kind for item in items}):
            values[f"{name}.accuracy.{kind}"] = fmean(r[name] for r in rows if r["kind"] == kind)
    write_rows(output / "items.jsonl", rows)
    return values
