"""What the steps ``grader`` and ``judge`` share: tuning into an artifact, going on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rbr.grading.fit import TrainingRows
from rbr.grading.heads import Array
from rbr.grading.load import model_identity
from rbr.steps.context import Context

if TYPE_CHECKING:
    from rbr.settings import Tuning


@contextmanager
def tuning(
    context: Context,
    artifact: str,
    backbone: str,
    rows: TrainingRows,
    label_weights: Array,
    options: Tuning,
    seed: int,
) -> Iterator[tuple[Path, dict[str, float]]]:
    """Tune the model of the artifact ``backbone``; yields the new artifact's folder and metrics.

    Args:
        label_weights: see ``rbr.grading.tune.fine_tune``.
    """
    from rbr.grading.tune import fine_tune
    from rbr.training.common import digest_of

    model = context.path(backbone)
    scratch = context.scratch(
        artifact,
        digest_of(options, seed, model_identity(model), rows.completions, rows.true),
    )
    context.tracker.message(f"tuning {options.layers} layers on {len(rows.completions)} rows")
    tuned = fine_tune(
        model,
        rows,
        label_weights,
        context.rules.proposition_names,
        options,
        context.settings,
        scratch,
        context.tracker,
        seed,
    )
    with context.output(artifact) as folder:
        tuned.save(folder, {"engine": "head", "layers": options.layers})
        yield folder, tuned.metrics
    shutil.rmtree(scratch)
