"""Propositions and the reward as scorers of ``mlflow.genai.evaluate``, for one's own traces."""

from rbr.scorers.scorers import (
    PropositionScorer,
    RewardScorer,
    proposition_scorers,
    reward_scorer,
)
from rbr.scorers.shared import SharedGrader

__all__ = [
    "PropositionScorer",
    "RewardScorer",
    "SharedGrader",
    "proposition_scorers",
    "reward_scorer",
]
