"""Supervised fine-tuning of a variant."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.gates import Part, between, metrics, numbers
from pipeline.training import train
from pipeline.variants import Variant
from rbr.files import digest_of, read_json, write_json
from rbr.training.demonstrations import Example, demonstrations


def inputs(variant: Variant) -> tuple[str, ...]:
    """The answers to safety prompts that a variant learns from."""
    answers = {
        "none": (),
        "human": ("human_preferences",),
        "rules": ("safety_demonstrations",),
    }
    return ("base_model", "helpful_demonstrations", *answers[variant.demonstrations])


@artifact(
    folder="models",
    group="training",
    inputs=inputs,
    settings=("sft",),
    kinds=("pytorch", "huggingface"),
    pool="training",
    per_variant=True,
)
def sft_checkpoint(context: Context, output: Path) -> Mapping[str, float]:
    """Supervised fine-tuned model, per variant."""
    from rbr.training.sft import train_sft

    options, chosen = context.settings.sft, chosen_demonstrations(context)
    answers = [[[m.content for m in turns], *of_answer] for turns, *of_answer in chosen]
    weights = rows.weights_digest(context.path("base_model"))
    key = digest_of(options, context.settings.seed, weights, answers)
    same = twin(context, key)
    if same:
        context.log(f"learns from the same demonstrations as {same.name}: copied")
        shutil.copytree(same, output, dirs_exist_ok=True)
        return dict(read_json(same / "metrics.json"))
    context.log(f"fine-tuning on {len(chosen)} demonstrations")
    with context.checkpoints(key) as checkpoints:
        result = train(
            context,
            train_sft,
            "sft",
            base=context.path("base_model"),
            base_name=context.graph["base_model"].path,
            demonstrations=chosen,
            checkpoints=checkpoints,
            target=output,
            options=options,
        )
    write_json(output / "made_of.json", {"key": key, "model": rows.weights_digest(output)})
    return result


def chosen_demonstrations(context: Context) -> list[Example]:
    """What the variant learns from; see ``rbr.training.demonstrations``."""
    variant = context.artifact.variant
    assert variant is not None
    kind = variant.demonstrations
    return demonstrations(
        rows.demonstrations(context, "helpful_demonstrations"),
        rows.preferences(context, "human_preferences", "train") if kind == "human" else None,
        rows.demonstrations(context, "safety_demonstrations") if kind == "rules" else None,
        context.settings.sft,
        context.settings.seed,
    )


def twin(context: Context, key: str) -> Path | None:
    """Another variant's model that learnt from the same, and is as it was made."""
    for other in context.graph.values():
        folder = context.path(other.key)
        if other.name != "sft_checkpoint" or other.key == context.artifact.key:
            continue
        if (folder / "made_of.json").is_file() and (folder / "metrics.json").is_file():
            found = read_json(folder / "made_of.json")
            if found == {"key": key, "model": rows.weights_digest(folder)}:
                return folder
    return None


@sft_checkpoint.gate
def expectations(context: Context) -> list[Part]:
    row = metrics(context)
    row["ratio"] = row["loss_last"] / row["loss_first"]
    limit = context.settings.gates.sft_loss_ratio_max
    return [
        Part("training", row, [between("ratio", 0, limit, "the loss did not rise")]),
        numbers(context),
    ]
