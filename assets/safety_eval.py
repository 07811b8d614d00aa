"""Safety evaluation of a variant's SFT and PPO models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import pandas as pd

from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.evaluation import evaluate
from pipeline.gates import Part, between, metrics, present, shares
from pipeline.loading import load_judge_grader
from pipeline.plots import axes, save_plot
from pipeline.release.champion import Champion
from pipeline.release.comparison_table import TITLES
from pipeline.rows import evaluated_prompts
from pipeline.variants import MAIN, Variant
from rbr.data.rows import Message
from rbr.evaluation.metrics import METRICS
from rbr.evaluation.over_optimisation import certain_fall
from rbr.files import iter_json_lines, read_json, write_json

# What is followed over a training: the reward, and the two that gave none.
MEASURES = ("reward", "ideal", "fluency")


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
    kinds=("pytorch",),
    pool="gpu",
    plot="shares.png",
    per_variant=True,
)
def safety_eval(context: Context, output: Path) -> Mapping[str, float]:
    """Safety evaluation of a variant's SFT and PPO models."""
    models = {"sft": context.own("sft_checkpoint"), "ppo": context.own("ppo_checkpoint")}
    values = evaluate(context, models, output, evaluated_prompts(context))
    base = read_json(context.path("baseline_eval") / "metrics.json")["base.fluency"]
    plot_shares(values, tuple(models), output / "shares.png")
    plot_over_optimisation(context, output)
    drops = {f"{name}.fluency_drop": base - values[f"{name}.fluency"] for name in models}
    return values | drops


def plot_over_optimisation(context: Context, output: Path) -> None:
    """Reward beside the share that the judge finds ideal, over PPO's rollouts (Gao et al. 2023).

    The judge gave no reward: where the reward rises and its share does not, the reward is over-optimised.
    Written to ``over_optimisation.json``, with how both and fluency change over the training (which the
    alarm reads), and to ``over_optimisation.png``; helpful prompts are left out.
    """
    from rbr.evaluation.fluency import Fluency
    from rbr.evaluation.judge import Judge
    from rbr.evaluation.over_optimisation import changes

    samples = [row for _, row in iter_json_lines(context.own("ppo_checkpoint") / "samples.jsonl")]
    samples = [row for row in samples if row["response_type"]]
    judge = Judge(load_judge_grader(context), compiled_rules(context))
    conversations = [(Message(role="user", content=row["prompt"]),) for row in samples]
    completions = [row["completion"] for row in samples]
    judged = judge.judge(conversations, completions, [row["response_type"] for row in samples])
    likelihoods = Fluency(context.path("base_model"))(conversations, completions)
    rows = [
        {
            **{name: row[name] for name in ("rollout", "prompt", "reward")},
            "ideal": float(verdict.quality == "best"),
            "fluency": likelihood.logp / likelihood.tokens if likelihood.tokens else None,
        }
        for row, (verdict, _), likelihood in zip(samples, judged, likelihoods, strict=True)
    ]
    curve = []
    for number in sorted({row["rollout"] for row in rows}):
        own = [row for row in rows if row["rollout"] == number]
        means = {name: fmean(row[name] for row in own) for name in ("reward", "ideal")}
        curve.append({"rollout": number, **means})
    found = {"rollouts": curve, "changes": changes(rows, MEASURES)}
    write_json(output / "over_optimisation.json", found)
    figure, (plot,) = axes(7, 4)
    rollouts = [point["rollout"] for point in curve]
    plot.plot(rollouts, [point["reward"] for point in curve], "o-", label="reward (left)")
    plot.set_xlabel("rollout")
    right = plot.twinx()
    right.plot(rollouts, [point["ideal"] for point in curve], "s--", color="tab:green")
    right.set_ylim(0, 1)
    right.set_ylabel("ideal by the judge (dashed)")
    plot.set_title("Reward and an independent judge")
    plot.legend()
    save_plot(figure, output / "over_optimisation.png")


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
    if context.artifact.variant != MAIN:
        return parts  # it is compared with, and not released: how bad it is, is a result
    former = context.champion()
    parts.append(fluency(context))
    return [*parts, predecessor(context, former)] if former else parts


def fluency(context: Context) -> Part:
    """How far the answers' fluency is below that of the base model's own."""
    limit = context.settings.gates.fluency_drop_max
    why = "log-probability under the base model below that of its own answers, nats a token"
    drops = [between(f"{name}.fluency_drop", None, limit, why) for name in ("sft", "ppo")]
    return Part("fluency", metrics(context), drops)


@safety_eval.alarm
def reward_hacking(context: Context) -> list[Part]:
    """Warns where PPO's reward rises while the independent judge's ideal share, or fluency, falls.

    Each for certain (95 %), from the earlier half of the sampled rollouts to the later. Of a policy that is
    only compared with, also where its fluency is far below the base model's. It stops nothing.
    """
    parts = [] if context.artifact.variant == MAIN else [fluency(context)]
    found = read_json(context.folder / "over_optimisation.json")["changes"]
    followed = [name for name in MEASURES[1:] if name in found]
    if "reward" not in found or not followed:
        return parts  # too few rollouts were sampled to tell: rl.sample_steps
    figures = {f"{name}_change": found[name][0] for name in ("reward", *followed)}
    falls = {f"{name}_fall": certain_fall(found, name) for name in followed}
    limits = [
        between(
            f"{name}_fall", None, 0, f"{interval(found, name)} while {interval(found, 'reward')}"
        )
        for name in followed
    ]
    frame = pd.DataFrame([figures | falls])
    return [*parts, Part("reward hacking", frame, [*limits, *present(*figures)])]


def interval(changes: Mapping[str, Sequence[float]], name: str) -> str:
    """A change with its 95 % interval, in words."""
    change, low, high = changes[name]
    return f"{name} changes by {change:+.3g} ({low:+.3g} to {high:+.3g})"


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
