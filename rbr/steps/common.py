"""Reading the artifacts that several steps need."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbr.data.rows import Comparison, HelpfulPrompt, Labelled, PolicyPrompt, Preference
from rbr.files import read_rows
from rbr.settings import RULED
from rbr.steps.context import Context

if TYPE_CHECKING:
    from rbr.evaluation.judge import Judge
    from rbr.reward import RuleBasedReward

SPLITS = ("train", "validation", "eval")


def prompts(context: Context, split: str) -> list[PolicyPrompt]:
    return read_rows(context.path("safety_prompts") / f"{split}.jsonl", PolicyPrompt)


def evaluated_prompts(context: Context) -> list[PolicyPrompt]:
    """The held-out prompts that evaluations ask, at most ``evaluation.prompts``."""
    rows = prompts(context, "eval")
    # All categories in their shares, whatever the file's order.
    random.Random(context.settings.seed).shuffle(rows)
    return rows[: context.settings.evaluation.prompts]


def gold(context: Context, split: str) -> list[Labelled]:
    return read_rows(context.path("gold_propositions") / f"{split}.jsonl", Labelled)


def comparisons(context: Context, split: str) -> list[Comparison]:
    return read_rows(context.path("synthetic_comparisons") / f"{split}.jsonl", Comparison)


def preferences(context: Context, artifact: str, split: str) -> list[Preference]:
    return read_rows(context.path(artifact) / f"{split}.jsonl", Preference)


def helpful_prompts(context: Context) -> list[HelpfulPrompt]:
    return read_rows(context.path("helpful_preferences") / "prompts.jsonl", HelpfulPrompt)


def load_grader(context: Context, stored: bool = True) -> Any:
    """The reward's grader, behind the grade store unless ``stored`` is False.

    The stored one works on the cluster that the profile names; the other in this process, beside the
    policy that is trained.
    """
    from rbr.grading import GradeStore, StoredGrader
    from rbr.grading.load import make_grader
    from rbr.scale import SpreadGrader

    settings = context.settings
    own = (settings.grader, context.rules, context.path("grader"), context.path("base_model"))
    grader: Any
    if settings.scale.address and stored:
        grader = SpreadGrader.of_profile(*own, settings.scale)
    else:
        grader = make_grader(*own, settings.scale.grader_servers)
    if not stored:
        return grader
    store = GradeStore(context.root / ".cache" / "grades.sqlite")
    return StoredGrader(grader, store, context.rules.grading_texts())


def reward_grader(context: Context, stored: bool = True) -> Any:
    """The grader as the reward sees it: with ``grade_noise``, where a profile asks for noise."""
    from rbr.grading.noise import NoisyGrader

    grader = load_grader(context, stored)
    noise = context.settings.grade_noise
    return NoisyGrader(grader, noise, context.settings.seed) if noise else grader


def reward_parts(variant: str | None) -> dict[str, str]:
    """Artifacts that make a variant's reward, rbr's for None: its R_rm and, with rules, its weights."""
    human = variant in ("human", "human_rbr")
    parts = {"reward_model": "human_reward_model" if human else "helpful_reward_model"}
    if variant is None or variant in RULED:
        parts["weights"] = "human_fitted_weights" if human else "fitted_weights"
    return parts


def load_reward(context: Context) -> RuleBasedReward:
    """The fitted reward of a variant with rules, rbr's for None: rules, weights, grader and R_rm.

    The grader (see ``reward_grader``) is asked without the store: what a policy answers is new each time.
    """
    from rbr.reward import RuleBasedReward
    from rbr.training.reward_model import RewardModel

    parts = reward_parts(context.variant)
    return RuleBasedReward.load(
        context.rules,
        context.path(parts["weights"]) / "weights.json",
        reward_grader(context, stored=False),
        RewardModel(context.path(parts["reward_model"])),
    )


def load_judge(context: Context) -> Judge:
    """The fitted judge; on the cluster that the profile names, if any."""
    from functools import partial

    from rbr.evaluation.judge import Judge
    from rbr.grading.head import HeadGrader
    from rbr.scale import SpreadGrader
    from rbr.scale.graders import head_card

    scale = context.settings.scale
    folder, model = context.path("judge"), context.path("judge_model")
    if scale.address is None:
        return Judge.load(folder, model, context.rules)
    grader = SpreadGrader(partial(HeadGrader, folder, model), head_card(folder), scale)
    return Judge(grader, context.rules)


class Reporter:
    """A progress callback that tells the tracker at most every few seconds."""

    def __init__(self, context: Context, doing: str, every: float = 10.0) -> None:
        self._context = context
        self._doing = doing
        self._every = every
        self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= self._every or done == total:
            self._last = now
            self._context.tracker.message(f"{self._doing}: {done}/{total}")


def save_plot(figure: Any, path: Any) -> None:
    """Write a figure as PNG to a path or a file, and close it."""
    import matplotlib.pyplot as plt

    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def axes(width: float = 8.0, height: float = 4.5, columns: int = 1) -> tuple[Any, Any]:
    """A figure that is drawn without a display."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(1, columns, figsize=(width, height), squeeze=False)


def dump(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
