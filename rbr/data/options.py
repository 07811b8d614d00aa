"""How prompts are split."""

from __future__ import annotations

from pydantic import Field

from rbr.options import Options


class SplitOptions(Options):
    """Split of the prompt families. Fractions are of families; ``eval`` gets the rest."""

    train_fraction: float = Field(0.6, gt=0, lt=1)
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    limit: int | None = Field(None, description="keep at most this many prompts (smoke profile)")
