"""Weights of the rules on the human reward model: what they must add to it is other than to R_rm.

The paper's "RBR on the human reward model" (section 6): the same features, fitted beside another R_rm.
"""

from __future__ import annotations

from rbr.steps import common
from rbr.steps.context import Context
from rbr.steps.fitted_weights import fit, graded


def run(context: Context) -> dict[str, float]:
    from rbr.training.reward_model import RewardModel

    reward_model = RewardModel(context.path("human_reward_model"))
    frames = graded(context)
    for split, frame in frames.items():
        context.tracker.message(f"scoring {split} comparisons with the human reward model")
        rows = {row.id: row for row in common.comparisons(context, split)}
        own = [rows[name] for name in frame["id"]]
        frame["reward_model"] = reward_model.score(
            [row.conversation for row in own], [row.completion for row in own]
        )
    return fit(context, "human_fitted_weights", frames)
