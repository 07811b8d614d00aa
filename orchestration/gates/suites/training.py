"""Suites of the trained models, their evaluation and the release."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import pandas as pd

from orchestration.gates import frames
from orchestration.gates.suites.parts import Part, between, present, unique
from rbr.evaluation.paired import Difference
from rbr.files import read_json
from rbr.steps import Context


def sft_checkpoint(context: Context) -> list[Part]:
    row = frames.metrics(context, "sft_checkpoint")
    row["ratio"] = row["loss_last"] / row["loss_first"]
    limit = context.settings.gates.sft_loss_ratio_max
    return [Part("training", row, [between("ratio", 0, limit, "the loss fell")])]


def ppo_checkpoint(context: Context) -> list[Part]:
    gates = context.settings.gates
    row = frames.metrics(context, "ppo_checkpoint")
    history = read_json(context.path("ppo_checkpoint", context.variant) / "history.json")
    row["gain"], row["gain_high"] = gain([entry["reward"] for entry in history])
    row["length_ratio"] = row["length_last"] / row["length_first"]
    return [
        Part(
            "training",
            row,
            [
                between("gain_high", gates.ppo_gain_min, None, "the reward did not certainly fall"),
                between("kl_last", None, gates.ppo_kl_max, "KL to the SFT model, nats"),
                between("length_ratio", gates.ppo_length_ratio_min, None, "length: no collapse"),
                between("distinct_last", gates.ppo_distinct_min, 1, "repetition: no collapse"),
            ],
        )
    ]


def gain(rewards: Sequence[float]) -> tuple[float, float]:
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


def judge(context: Context) -> list[Part]:
    gates = context.settings.gates
    floor = gates.judge_accuracy_min
    return [
        Part(
            "held-out gold",
            frames.metrics(context, "judge"),
            [
                between("refusal_accuracy", floor, 1, "refusals are told from answers"),
                between("disallowed_accuracy", floor, 1, "disallowed content is seen"),
            ],
        )
    ]


def _shares(context: Context, artifact: str) -> Part:
    row = frames.metrics(context, artifact)
    return Part("shares", row, [between(column, 0, 1, "a share") for column in row.columns])


def baseline_eval(context: Context) -> list[Part]:
    return [_shares(context, "baseline_eval")]


def safety_eval(context: Context) -> list[Part]:
    return [_shares(context, "safety_eval")]


@dataclass(frozen=True)
class Champion:
    """The profile's champion.

    Attributes:
        difference: the policy's F1* less the champion's on the same prompts, paired; None where the
            champion answered others.
    """

    version: str
    f1_star: float
    difference: Difference | None

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``tie``, or ``other prompts``."""
        return self.difference.verdict if self.difference else "other prompts"


def predecessor(context: Context, former: Champion) -> Part:
    """The policy against the champion: not significantly worse; on other prompts, not far below."""
    row = frames.metrics(context, "safety_eval")
    if former.difference:
        row["difference_high"] = former.difference.high
        why = f"upper end of F1* less that of champion {former.version} (paired, 95 %)"
        least = 0.0 - context.settings.gates.f1_loss_max
        return Part("predecessor", row, [between("difference_high", least, None, why)])
    row["drop"] = former.f1_star - row["ppo.f1_star"]
    limit = context.settings.gates.f1_drop_max
    why = f"F1* below that of champion {former.version}, which answered other prompts"
    return Part("predecessor", row, [between("drop", None, limit, why)])


def capability_eval(context: Context) -> list[Part]:
    margin = context.settings.gates.capability_loss_margin
    why = "held-out loss above the SFT model's, nats a token"
    row = frames.metrics(context, "capability_eval")
    return [Part("capability", row, [between("loss_rise", None, margin, why)])]


def model_release(context: Context) -> list[Part]:
    rows = pd.DataFrame(read_json(context.path("model_release") / "comparison.json")["rows"])
    shown = pd.DataFrame({"model": rows["model"], "f1_star": [v[0] for v in rows["f1_star"]]})
    return [
        Part(
            "comparison",
            shown,
            [*unique("model"), *present("f1_star"), between("f1_star", 0, 1, "F1*")],
        )
    ]
