"""Safety evaluation of the base model; also what the other evaluations share."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rbr.files import write_json, write_rows
from rbr.steps import common
from rbr.steps.context import Context


def evaluate(context: Context, artifact: str, models: dict[str, Path]) -> dict[str, float]:
    """Evaluate each model on held-out prompts and write results and completions."""
    from rbr.evaluation.safety import evaluate_model
    from rbr.training.common import digest_of, file_digest

    settings = context.settings.evaluation
    prompts = common.evaluated_prompts(context)
    judge = common.load_judge(context)
    scratch = context.scratch(
        artifact,
        digest_of(
            {name: file_digest(path / "model.safetensors") for name, path in models.items()},
            settings,
            context.rules.hashes()["classes"],
            [prompt.id for prompt in prompts],
        ),
    )
    results: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    with context.output(artifact) as folder:
        for name, path in models.items():
            result, rows = evaluate_model(
                path,
                prompts,
                judge,
                settings.max_new_tokens,
                settings.batch_size,
                settings.bootstrap,
                kept=scratch / f"{name}.jsonl",
                progress=common.Reporter(context, f"answering held-out prompts with {name}"),
                scale=context.settings.scale,
            )
            results[name] = result
            write_rows(folder / f"{name}.jsonl", rows)
            for metric, (value, low, high) in result["metrics"].items():
                metrics[f"{name}.{metric}"] = value
                metrics[f"{name}.{metric}.low"] = low
                metrics[f"{name}.{metric}.high"] = high
            context.tracker.table(f"{artifact}_{name}", rows[:40])
        write_json(folder / "results.json", results)
        write_json(folder / "metrics.json", metrics)
    shutil.rmtree(scratch)
    return metrics


def run(context: Context) -> dict[str, float]:
    return evaluate(context, "baseline_eval", {"base": context.path("base_model")})
