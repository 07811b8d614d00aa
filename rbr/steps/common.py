"""Reading the artifacts that several steps need."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbr.data.rows import Comparison, HelpfulPrompt, Labelled, PolicyPrompt, Preference
from rbr.files import read_rows
from rbr.steps.context import Context

if TYPE_CHECKING:
    from rbr.reward import RuleBasedReward

SPLITS = ("train", "validation", "eval")


def prompts(context: Context, split: str) -> list[PolicyPrompt]:
    return read_rows(context.path("safety_prompts") / f"{split}.jsonl", PolicyPrompt)


def gold(context: Context, split: str) -> list[Labelled]:
    return read_rows(context.path("gold_propositions") / f"{split}.jsonl", Labelled)


def comparisons(context: Context, split: str) -> list[Comparison]:
    return read_rows(context.path("synthetic_comparisons") / f"{split}.jsonl", Comparison)


def preferences(context: Context, artifact: str, split: str) -> list[Preference]:
    return read_rows(context.path(artifact) / f"{split}.jsonl", Preference)


def helpful_prompts(context: Context) -> list[HelpfulPrompt]:
    return read_rows(context.path("helpful_preferences") / "prompts.jsonl", HelpfulPrompt)


def load_grader(context: Context, stored: bool = True) -> Any:
    """The reward's grader, behind the grade store unless ``stored`` is False."""
    from rbr.grading import GradeStore, StoredGrader
    from rbr.grading.load import make_grader

    grader = make_grader(
        context.settings.grader,
        context.rules,
        context.path("grader"),
        context.path("base_model"),
    )
    if not stored:
        return grader
    store = GradeStore(context.root / ".cache" / "grades.sqlite")
    return StoredGrader(grader, store, context.rules.grading_texts())


def load_reward(context: Context) -> RuleBasedReward:
    """The fitted reward: rules, weights, grader and helpful-only R_rm.

    The grader is asked without the store: what a policy answers is new each time.
    """
    from rbr.reward import RuleBasedReward
    from rbr.training.reward_model import RewardModel

    return RuleBasedReward.load(
        context.rules,
        context.path("fitted_weights") / "weights.json",
        load_grader(context, stored=False),
        RewardModel(context.path("helpful_reward_model")),
    )


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
    """Write a figure as PNG and close it."""
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
