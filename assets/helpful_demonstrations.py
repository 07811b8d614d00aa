"""The base model's own answers to everyday prompts, for every variant's fine-tuning."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.demonstrations import sampler
from pipeline.gates import Part, between, metrics
from rbr.files import write_rows
from rbr.training.demonstrations import helpful_answers


@artifact(
    folder="data",
    group="training",
    inputs=("base_model", "helpful_preferences"),
    settings=("demonstrations",),
    kinds=("torch",),
    pool="gpu",
)
def helpful_demonstrations(context: Context, output: Path) -> Mapping[str, float]:
    """Answers of the base model to helpful prompts, sampled, in whole sentences."""
    options, seed = context.settings.demonstrations, context.settings.seed
    prompts = rows.helpful_prompts(context)
    prompts = random.Random(seed).sample(prompts, min(options.helpful_prompts, len(prompts)))
    weights = rows.weights_digest(context.path("base_model"))
    with context.checkpoints(options, seed, weights, prompts) as checkpoints:
        sample = sampler(context, checkpoints, "answering helpful prompts")
        found = helpful_answers(prompts, sample, options)
    write_rows(output / "demonstrations.jsonl", found)
    asked = len(prompts) * options.samples
    return {"rows": len(found), "kept": len(found) / max(1, asked)}


@helpful_demonstrations.gate
def expectations(context: Context) -> list[Part]:
    why = "answers to learn from"
    return [Part("answers", metrics(context), [between("rows", 1, None, why)])]
