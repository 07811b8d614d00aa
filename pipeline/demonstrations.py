"""Sampling of the base model, as the artifacts of demonstrations do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.context import Context
from rbr.data.rows import Conversation
from rbr.files import digest_of

if TYPE_CHECKING:
    from rbr.models.generate import Answer


def sampler(
    context: Context, checkpoints: Path, task: str
) -> Callable[[Sequence[Conversation], int], list[Answer]]:
    """Samples the base model; what is finished is kept in ``checkpoints``, so that a stopped run goes on."""
    from rbr.models.generate import generate

    options, settings = context.settings.demonstrations, context.settings

    def sample(conversations: Sequence[Conversation], attempt: int) -> list[Answer]:
        turns = [[m.model_dump() for m in conversation] for conversation in conversations]
        return generate(
            context.path("base_model"),
            conversations,
            options.max_new_tokens,
            settings.evaluation.batch_size,
            kept=checkpoints / f"{digest_of(turns, attempt)}.jsonl",
            progress=context.progress(f"{task}, attempt {attempt + 1}" if attempt else task),
            sample_seed=settings.seed + 1000 * attempt,
            temperature=options.temperature,
            scale=settings.scale,
        )

    return sample
