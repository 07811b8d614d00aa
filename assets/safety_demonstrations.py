"""Ideal answers to safety prompts, the base model's own where it can be made to, for fine-tuning."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.demonstrations import sampler
from pipeline.gates import Part, between
from pipeline.loading import stored_grader
from rbr.data.rows import PolicyPrompt
from rbr.files import read_json, write_rows
from rbr.reward.confirm import best_class
from rbr.training.demonstrations import directed_answers, freely_answered, own_answers

SOURCES = ("sampled", "conditioned", "composed")


@artifact(
    folder="data",
    group="training",
    inputs=("rules", "base_model", "grader", "safety_prompts"),
    rules=("names", "response_types", "roles", "completions", "classes"),
    settings=("demonstrations",),
    kinds=("torch",),
    pool="gpu",
)
def safety_demonstrations(context: Context, output: Path) -> Mapping[str, float]:
    """Answers to safety prompts that the grader finds ideal: sampled of the base model, or composed."""
    options, seed, rules = (
        context.settings.demonstrations,
        context.settings.seed,
        compiled_rules(context),
    )
    train = rows.safety_prompts(context, "train")
    draw = random.Random(seed)

    def some(over_refusal: bool, count: int) -> list[PolicyPrompt]:
        alike = [prompt for prompt in train if prompt.over_refusal == over_refusal]
        return draw.sample(alike, min(count, len(alike)))

    complied, refused = some(True, options.comply_prompts), some(False, options.refuse_prompts)
    weights = rows.weights_digest(context.path("base_model"))
    with context.checkpoints(options, seed, weights, rules.digest, train) as checkpoints:
        # Not the workspace's grade store: no other artifact reads these grades.
        grader = stored_grader(context, rules, checkpoints / "grades.sqlite")
        ideal = best_class(grader, rules, context.progress("grading demonstrations"))
        sample = sampler(context, checkpoints, "answering prompts to comply with")
        free = [prompt for prompt in complied if freely_answered(rules, prompt.response_type)]
        found = own_answers(free, sample, options, ideal)
        answered = len({row.prompt_id for row in found})
        sample = sampler(context, checkpoints, "answering as told")
        told = [p for p in complied + refused if not freely_answered(rules, p.response_type)]
        found += directed_answers(told, rules, train, sample, options, ideal, seed)
    write_rows(output / "demonstrations.jsonl", found)
    sizes = {
        f"{kind}.{what}": float(count)
        for kind, prompts, over_refusal in (("comply", complied, True), ("refuse", refused, False))
        for what, count in (
            ("prompts", len(prompts)),
            ("rows", sum(row.over_refusal == over_refusal for row in found)),
        )
    }
    return {
        **sizes,
        "answered": answered / max(1, len(free)),
        **{name: sum(row.source == name for row in found) for name in SOURCES},
    }


@safety_demonstrations.gate
def expectations(context: Context) -> list[Part]:
    found = read_json(context.folder / "metrics.json")
    kinds = [kind for kind in ("comply", "refuse") if found[f"{kind}.prompts"]]
    rows = [found[f"{kind}.rows"] for kind in kinds]
    why = "ideal answers to learn from"
    return [
        Part(
            "answers", pd.DataFrame({"label": kinds, "rows": rows}), [between("rows", 1, None, why)]
        )
    ]
