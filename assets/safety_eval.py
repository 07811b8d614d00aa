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
from rbr.files import read_json


def inputs(variant: Variant) -> tuple[str, ...]:
    """The two models, what judges them, and the base model with its own answers."""
    models = (variant.key("sft_checkpoint"), variant.key("ppo_checkpoint"))
    base = ("base_model", "baseline_eval")
    return (*models, *base, "rules", "judge", "judge_model", "safety_prompts")


@artifact(
    folder="data",
    group="evaluation",
    inputs=inputs,
    rules=("names", "response_types", "roles", "classes"),
    settings=("evaluation",),
    kinds=("torch",),
    pool="gpu",
    per_variant=True,
)
def safety_eval(context: Context, output: Path) -> Mapping[str, float]:
    """Safety evaluation of a variant's SFT and PPO models."""
    models = {"sft": context.own("sft_checkpoint"), "ppo": context.own("ppo_checkpoint")}
    values = evaluate(context, models, output)
    base = read_json(context.path("baseline_eval") / "metrics.json")["base.fluency"]
    drops = {f"{name}.fluency_drop": base - values[f"{name}.fluency"] for name in models}
    return values | drops


@safety_eval.gate
def expectations(context: Context) -> list[Part]:
    limit = context.settings.gates.fluency_drop_max
    why = "log-probability under the base model below that of its own answers, nats a token"
    drops = [between(f"{name}.fluency_drop", None, limit, why) for name in ("sft", "ppo")]
    parts = [shares(context), Part("fluency", metrics(context), drops)]
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
