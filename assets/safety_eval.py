"""Safety evaluation of a variant's SFT and PPO models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.evaluation import evaluate
from pipeline.gates import Part, between, metrics, shares
from pipeline.release.champion import Champion
from pipeline.variants import MAIN, Variant


def inputs(variant: Variant) -> tuple[str, ...]:
    """The two models, and what judges them."""
    models = (variant.key("sft_checkpoint"), variant.key("ppo_checkpoint"))
    return (*models, "rules", "judge", "judge_model", "safety_prompts")


@artifact(
    folder="data",
    group="evaluation",
    inputs=inputs,
    rules=("names", "response_types", "roles", "classes"),
    settings=("evaluation",),
    kinds=("pytorch",),
    pool="gpu",
    per_variant=True,
)
def safety_eval(context: Context, output: Path) -> Mapping[str, float]:
    """Safety evaluation of a variant's SFT and PPO models."""
    models = {"sft": context.own("sft_checkpoint"), "ppo": context.own("ppo_checkpoint")}
    return evaluate(context, models, output)


@safety_eval.gate
def expectations(context: Context) -> list[Part]:
    parts = [shares(context)]
    former = context.champion() if context.artifact.variant == MAIN else None
    return [*parts, predecessor(context, former)] if former else parts


def predecessor(context: Context, former: Champion) -> Part:
    """The policy against the champion: not significantly worse; on other prompts, not far below."""
    gates = context.settings.gates
    row = metrics(context)
    if former.difference:
        row["difference_high"] = former.difference.high
        why = f"upper end of F1* less that of champion {former.version} (paired, 95 %)"
        least = 0.0 - gates.f1_loss_max
        return Part("predecessor", row, [between("difference_high", least, None, why)])
    row["drop"] = former.f1_star - row["ppo.f1_star"]
    why = f"F1* below that of champion {former.version}, which answered other prompts"
    return Part("predecessor", row, [between("drop", None, gates.f1_drop_max, why)])
