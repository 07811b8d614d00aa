"""Loading the graders, reward models and rewards that artifacts hold."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pipeline.context import Context
    from rbr.grading.base import Grader
    from rbr.grading.store import StoredGrader
    from rbr.rules.rules import Rules


def load_grader(context: Context, rules: Rules) -> Grader:
    """The reward's grader in this process, without the grade store."""
    from rbr.grading.load import make_grader

    settings = context.settings
    return make_grader(
        settings.grader,
        rules,
        context.path("grader"),
        context.path("base_model"),
        settings.scale.grader_servers,
    )


def stored_grader(context: Context, rules: Rules) -> StoredGrader:
    """The reward's grader behind the grade store; on the cluster that the profile names, if any."""
    from rbr.grading.spread import SpreadGrader
    from rbr.grading.store import GradeStore, StoredGrader

    settings = context.settings
    if settings.scale.address:
        model, folder = context.path("base_model"), context.path("grader")
        spread = SpreadGrader.from_options(settings.grader, rules, folder, model, settings.scale)
        grader: Grader = spread
    else:
        grader = load_grader(context, rules)
    store = GradeStore(context.root / ".cache" / "grades.sqlite")
    return StoredGrader(grader, store, rules.grading_texts())


def with_noise(context: Context, grader: Grader) -> Grader:
    """The grader as the reward sees it: with ``grade_noise``, where a profile sets it."""
    from rbr.grading.noise import NoisyGrader

    noise = context.settings.grade_noise
    return NoisyGrader(grader, noise, context.settings.seed) if noise else grader


def load_judge_grader(context: Context) -> Grader:
    """The grader behind the judge; on the cluster that the profile names, if any."""
    from rbr.grading.head import HeadGrader
    from rbr.grading.spread import SpreadGrader, head_card

    scale = context.settings.scale
    folder, model = context.path("judge"), context.path("judge_model")
    if scale.address is None:
        return HeadGrader(folder, model)
    return SpreadGrader(partial(HeadGrader, folder, model), head_card(folder), scale)
