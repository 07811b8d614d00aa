"""Tuning heads into an artifact: the grader and the judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import rows
from pipeline.compiled_rules import compiled_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.context import Context
    from rbr.data.planting import Planted
    from rbr.data.rows import Labelled
    from rbr.grading.options import TuningOptions


def tune_heads(
    context: Context, model: Path, role: str, options: TuningOptions, output: Path
) -> dict[str, float]:
    """Tune a model with heads into ``output``; a stopped tuning resumes from its last checkpoint.

    Args:
        role: whose gold rows it learns from, one of ``rbr.data.gold.ROLES``.
    """
    from rbr.data.planting import plant
    from rbr.grading.load import model_identity
    from rbr.grading.tune import fine_tune
    from rbr.models.trainer import MetricsCallback

    rules, gold, seed = compiled_rules(context), rows.gold(context, role), context.settings.seed
    sentences = rows.sentences(context, role)
    labels = [[row.id, row.completion, row.true] for row in gold]
    labels += [[row.id, row.text, row.true] for row in sentences]
    context.log(f"tuning {options.layers} layers on {len(gold)} rows")

    def augment(trained: Sequence[Labelled]) -> list[Planted]:
        return plant(trained, sentences, round(options.planted * len(trained)), rules, seed)

    with context.checkpoints(options, seed, model_identity(model), labels) as checkpoints:
        tuned = fine_tune(
            model,
            gold,
            rules.proposition_names,
            options,
            checkpoints,
            seed,
            [MetricsCallback(context.run.metrics, "tuning")],
            rules.relations,
            augment,
        )
        tuned.save(output, {"engine": "head", "layers": options.layers})
    return tuned.metrics
