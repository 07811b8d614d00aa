"""Tuning heads into an artifact: the grader and the judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.context import Context
    from rbr.data.rows import TrainingRows
    from rbr.grading.base import Array
    from rbr.grading.options import TuningOptions


def tune_heads(
    context: Context,
    model: Path,
    rows: TrainingRows,
    label_weights: Array,
    propositions: Sequence[str],
    options: TuningOptions,
    seed: int,
    output: Path,
) -> dict[str, float]:
    """Tune a model with heads into ``output``; a stopped tuning resumes from its last checkpoint.

    Args:
        label_weights: (rows, propositions); a label of weight 0 is not learnt.
    """
    from rbr.grading.load import model_identity
    from rbr.grading.tune import fine_tune
    from rbr.models.trainer import MetricsCallback

    context.log(f"tuning {options.layers} layers on {len(rows.completions)} rows")
    with context.checkpoints(
        options, seed, model_identity(model), rows.completions, rows.true
    ) as checkpoints:
        tuned = fine_tune(
            model,
            rows,
            label_weights,
            propositions,
            options,
            checkpoints,
            seed,
            [MetricsCallback(context.run.metrics, "tuning")],
        )
        tuned.save(output, {"engine": "head", "layers": options.layers})
    return tuned.metrics
