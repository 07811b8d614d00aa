"""Propositions and the reward as scorers of ``mlflow.genai.evaluate``, for one's own traces."""

from rbr.scorers.grade_once import GradeOnce
from rbr.scorers.scorers import (
    PropositionScorer,
    RewardScorer,
    proposition_scorers,
    reward_scorer,
)

__all__ = [
    "GradeOnce",
    "PropositionScorer",
    "RewardScorer",
    "proposition_scorers",
    "reward_scorer",
]
