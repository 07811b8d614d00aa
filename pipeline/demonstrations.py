"""Sampling of the base model, as the artifacts of demonstrations do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.context import Context
from rbr.comparisons.writers import log_of
from rbr.data.rows import Conversation

if TYPE_CHECKING:
    from rbr.models.generate import Answer


def sampler(
    context: Context, checkpoints: Path, task: str
) -> Callable[[Sequence[Conversation], int], list[Answer]]:
    """Samples the base model; what is finished is kept in ``checkpoints``, so that a stopped run goes on."""
    from rbr.models.generate import generate

    options, settings = context.settings.demonstrations, context.settings

    def sample(conversations: Sequence[Conversation], attempt: int) -> list[Answer]:
        return generate(
            context.path("base_model"),
            conversations,
            options.max_new_tokens,
            settings.evaluation.batch_size,
            kept=log_of(checkpoints, conversations, attempt),
            progress=context.progress(f"{task}, attempt {attempt + 1}" if attempt else task),
            sample_seed=settings.seed + 1000 * attempt,
            temperature=options.temperature,
            scale=settings.scale,
        )

    return sample
