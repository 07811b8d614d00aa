"""Policy optimisation of a variant against its reward."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.gates import Part, between, metrics, numbers
from pipeline.plots import axes, save_plot
from pipeline.reward import VariantReward
from pipeline.training import train
from pipeline.variants import Variant
from rbr.files import read_json, write_json


def inputs(variant: Variant) -> tuple[str, ...]:
    """The start, the prompts, and what the reward is made of."""
    common = ("safety_prompts", "helpful_preferences", variant.key("sft_checkpoint"))
    rules = ("rules", "base_model", "grader", variant.weights) if variant.weights else ()
    return (*common, variant.reward_model, *rules)


@artifact(
    folder="models",
    group="training",
    inputs=inputs,
    rules=("response_types", "roles", "propositions", "classes", "features"),
    settings=("rl", "grade_noise"),
    kinds=("pytorch", "huggingface"),
    pool="training",
    per_variant=True,
)
def ppo_checkpoint(context: Context, output: Path) -> Mapping[str, float]:
    """Policy after PPO against the variant's reward."""
    from rbr.training.policy import train_policy

    options, start = context.settings.rl, context.own("sft_checkpoint")
    safety, helpful = rows.safety_prompts(context, "train"), rows.helpful_prompts(context)
    reward = VariantReward.of(context)
    context.log(f"{options.algorithm}: {options.steps} rollouts")
    with context.checkpoints(
        options,
        context.settings.seed,
        rows.weights_digest(start),
        reward.digests(),
        safety,
        helpful,
    ) as checkpoints:
        result = train(
            context,
            train_policy,
            options.algorithm,
            start=start,
            start_name=str(start.relative_to(context.root)),
            safety=safety,
            helpful=helpful,
            reward=reward,
            checkpoints=checkpoints,
            target=output,
            options=options,
            on_samples=partial(context.run.table, "samples"),
        )
    plot_history(read_json(output / "history.json"), output / "training.png")
    # What it was trained against: another reward makes another checkpoint, which is evaluated anew.
    write_json(output / "reward.json", reward.digests())
    return result


def plot_history(history: list[dict[str, Any]], target: Path) -> None:
    """Reward, KL and length over the rollouts."""
    figure, plots = axes(11, 3, 3)
    for plot, key in zip(plots, ("reward", "kl", "completions/mean_length"), strict=True):
        plot.plot([row[key] for row in history if key in row])
        plot.set_title(key)
        plot.set_xlabel("rollout")
    save_plot(figure, target)


@ppo_checkpoint.gate
def expectations(context: Context) -> list[Part]:
    gates = context.settings.gates
    row = metrics(context)
    history = read_json(context.folder / "history.json")
    row["gain"], row["gain_high"] = reward_gain([entry["reward"] for entry in history])
    row["length_ratio"] = row["length_last"] / row["length_first"]
    expectations = [
        between("gain_high", gates.ppo_gain_min, None, "the reward did not certainly fall"),
        between("kl_last", None, gates.ppo_kl_max, "KL to the SFT model, nats"),
        between("length_ratio", gates.ppo_length_ratio_min, None, "length: no collapse"),
        between("distinct_last", gates.ppo_distinct_min, 1, "repetition: no collapse"),
    ]
    return [Part("training", row, expectations), numbers(context)]


def reward_gain(rewards: Sequence[float]) -> tuple[float, float]:
    """Mean reward of the later half of the rollouts less that of the earlier half, and its 95 % upper end.

    One rollout is a dozen prompts, each time others: the last less the first is mostly chance, and over
    few rollouts so is the halves' difference. The upper end is by Welch's standard error of the two
    means; it is the difference itself where a half has one rollout, and NaN without any rollout.
    """
    if not rewards:
        return math.nan, math.nan
    half = len(rewards) // 2
    if not half:
        return 0.0, 0.0
    earlier, later = rewards[:half], rewards[-half:]
    rise = fmean(later) - fmean(earlier)
    if half < 2:
        return rise, rise
    return rise, rise + 1.96 * math.sqrt((variance(earlier) + variance(later)) / half)
