"""Safety evaluation of a variant's SFT and PPO models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.evaluation import evaluate
from pipeline.gates import Part, between, metrics, shares
from pipeline.plots import axes, save_plot
from pipeline.release.champion import Champion
from pipeline.release.comparison_table import TITLES
from pipeline.variants import MAIN, Variant
from rbr.evaluation.metrics import METRICS


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
    plot="shares.png",
    per_variant=True,
)
def safety_eval(context: Context, output: Path) -> Mapping[str, float]:
    """Safety evaluation of a variant's SFT and PPO models."""
    models = {"sft": context.own("sft_checkpoint"), "ppo": context.own("ppo_checkpoint")}
    found = evaluate(context, models, output)
    plot_shares(found, tuple(models), output / "shares.png")
    return found


def plot_shares(found: Mapping[str, float], models: Sequence[str], target: Path) -> None:
    """Each metric with its interval, the models one below the other."""
    figure, (plot,) = axes(8, 4)
    for number, model in enumerate(models):
        rows = [name for name in METRICS if f"{model}.{name}" in found]
        middle = [found[f"{model}.{name}"] for name in rows]
        # Rounding may put a value outside its interval by a hair.
        below = [max(0.0, m - found[f"{model}.{n}.low"]) for m, n in zip(middle, rows, strict=True)]
        above = [
            max(0.0, found[f"{model}.{n}.high"] - m) for m, n in zip(middle, rows, strict=True)
        ]
        heights = [place + 0.12 * (2 * number - 1) for place in range(len(rows))]
        plot.errorbar(middle, heights, xerr=[below, above], fmt="o", capsize=3, label=model.upper())
        plot.set_yticks(range(len(rows)), [TITLES.get(name, name) for name in rows])
    plot.set_xlim(-0.02, 1.02)
    plot.set_xlabel("share of held-out prompts, 95 % interval (F1* of the first two)")
    plot.invert_yaxis()
    plot.legend(loc="best")
    save_plot(figure, target)


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
