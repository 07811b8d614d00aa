"""The released model that a new one is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from rbr.evaluation.paired import Difference


@dataclass(frozen=True)
class Champion:
    """The best former champion of the profile.

    Attributes:
        difference: the policy's F1* less the champion's on the same prompts, paired; None where none
            answered these, judged by the same judge.
    """

    version: str
    f1_star: float
    difference: Difference | None

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``tie``, or ``other prompts``."""
        return self.difference.verdict if self.difference else "other prompts"
