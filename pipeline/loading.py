"""Loading the graders, reward models and rewards that artifacts hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.context import Context
    from rbr.grading.base import Grader
    from rbr.grading.consistency import ConsistentGrader
    from rbr.rules.rules import Rules


def load_grader(
    context: Context,
    rules: Rules,
    load: bool = True,
    stored: Callable[[Grader], Grader] | None = None,
) -> ConsistentGrader:
    """The reward's grader in this process; see ``make_grader``."""
    from rbr.grading.load import make_grader

    settings = context.settings
    return make_grader(
        settings.grader,
        rules,
        context.path("grader"),
        context.path("base_model"),
        settings.scale.grader_servers,
        load,
        stored,
    )


def stored_grader(context: Context, rules: Rules, path: Path | None = None) -> ConsistentGrader:
    """The reward's grader behind a grade store; on the cluster that the profile names, if any.

    Args:
        path: of the store; the workspace's by default.
    """
    from rbr.grading.store import GradeStore, StoredGrader

    scale = context.settings.scale

    def stored(grader: Grader) -> Grader:
        store = GradeStore(path or context.root / ".cache" / "grades.sqlite")
        return StoredGrader(grader, store, rules.grading_texts(), scale=scale)

    return load_grader(context, rules, scale.address is None, stored)


def with_noise(context: Context, grader: Grader) -> Grader:
    """The grader as the reward sees it: with ``grade_noise``, where a profile sets it."""
    from rbr.grading.noise import NoisyGrader

    noise = context.settings.grade_noise
    return NoisyGrader(grader, noise, context.settings.seed) if noise else grader


def load_judge_grader(context: Context) -> Grader:
    """The grader behind the judge; on the cluster that the profile names, if any."""
    from rbr.grading.head import HeadGrader
    from rbr.grading.store import GradeStore, StoredGrader

    scale = context.settings.scale
    grader = HeadGrader(context.path("judge"), context.path("judge_model"))
    if scale.address is None:
        return grader
    return StoredGrader(grader, GradeStore(), dict.fromkeys(grader.propositions, ""), scale=scale)
