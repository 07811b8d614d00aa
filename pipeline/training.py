"""Calling the training functions of ``rbr`` from an artifact's body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.launch import launch

if TYPE_CHECKING:
    from pipeline.context import Context


def train(
    context: Context,
    function: Callable[..., Mapping[str, float] | None],
    prefix: str,
    **arguments: Any,
) -> dict[str, float]:
    """Call a training function in the processes that ``launch`` asks for; it logs to the run.

    Args:
        prefix: of the names of the metrics that it logs.
        arguments: of the function, all picklable; ``seed`` and ``callbacks`` are added.

    Raises:
        TrainingError: if a process fails, with the end of its output.
    """
    from rbr.models.trainer import MetricsCallback

    settings = context.settings
    call = partial(
        function,
        seed=settings.seed,
        callbacks=[MetricsCallback(context.run.metrics, prefix)],
        **arguments,
    )
    return launch(call, settings.launch, settings.threads, arguments["checkpoints"], context.log)
