"""The weights of the rules on the human reward model.

The paper's "RBR on the human reward model" (section 6): the same features, fitted beside another R_rm.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.context import Context
from pipeline.gates import Part
from pipeline.weights import fit_weights, graded_frames, weight_checks


@artifact(
    folder="data",
    group="rewards",
    inputs=("rules", "synthetic_comparisons", "graded_comparisons", "human_reward_model"),
    rules=("response_types", "classes", "features", "ranking", "signs"),
    settings=("weights",),
    kinds=("pytorch", "scipy"),
    pool="gpu",
)
def human_fitted_weights(context: Context, output: Path) -> Mapping[str, float]:
    """Weights of the rule-based reward on the human reward model, per response type."""
    from rbr.training.reward_model import RewardModel

    reward_model = RewardModel(context.path("human_reward_model"))
    frames = graded_frames(context)
    for split, frame in frames.items():
        context.log(f"scoring {split} comparisons with the human reward model")
        by_id = {row.id: row for row in rows.comparisons(context, split)}
        graded = [by_id[name] for name in frame["id"]]
        frame["reward_model"] = reward_model.score(
            [row.conversation for row in graded], [row.completion for row in graded]
        )
    return fit_weights(context, frames, output)


@human_fitted_weights.gate
def expectations(context: Context) -> list[Part]:
    return weight_checks(context)
