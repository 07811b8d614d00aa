"""Features and R_rm of every comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline import rows
from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.gates import Part, between, no_empty_split, one_of, present
from pipeline.loading import stored_grader, with_noise
from rbr.files import write_json
from rbr.grading.base import Grader, usage_metrics
from rbr.reward.features import features
from rbr.rules.rules import Rules

if TYPE_CHECKING:
    from rbr.training.reward_model import RewardModel


@artifact(
    folder="data",
    group="rewards",
    inputs=("rules", "base_model", "grader", "synthetic_comparisons", "helpful_reward_model"),
    rules=("response_types", "roles", "propositions", "classes", "features"),
    settings=("grader", "grade_noise"),
    pool="grader",
)
def graded_comparisons(context: Context, output: Path) -> Mapping[str, float]:
    """Features (proposition and class probabilities) and R_rm of every comparison."""
    from rbr.training.reward_model import RewardModel

    rules = compiled_rules(context)
    stored = stored_grader(context, rules)
    grader = with_noise(context, stored)
    reward_model = RewardModel(context.path("helpful_reward_model"))
    metrics: dict[str, float] = {}
    for split in rows.SPLITS:
        frame = graded_frame(context, split, rules, grader, reward_model)
        frame.to_parquet(output / f"{split}.parquet", index=False)
        metrics[f"{split}_rows"] = len(frame)
    texts = rules.grading_texts()
    # What each proposition is judged by, for the impact of a changed wording.
    judged_by = {
        name: {
            "text": hashlib.sha256(texts[name].encode()).hexdigest(),
            "grader": stored.grader.identity(name),
        }
        for name in grader.propositions
    }
    write_json(output / "judged_by.json", judged_by)
    # Not of the artifact: it depends on what the grade store held.
    context.run.metrics({"grader_calls": float(stored.calls), **usage_metrics(stored)})
    return metrics


def graded_frame(
    context: Context, split: str, rules: Rules, grader: Grader, reward_model: RewardModel
) -> pd.DataFrame:
    """A row for each comparison; the columns of another response type's features are NaN."""
    comparisons = rows.comparisons(context, split)
    conversations = [row.conversation for row in comparisons]
    completions = [row.completion for row in comparisons]
    progress = context.progress(f"grading {split} comparisons")
    grades = grader.grade(conversations, completions, progress)
    context.log(f"scoring {split} comparisons with the reward model")
    frame = pd.DataFrame(
        {
            "id": [row.id for row in comparisons],
            "prompt_id": [row.prompt_id for row in comparisons],
            "response_type": [row.response_type for row in comparisons],
            "label": [row.label for row in comparisons],
            "reward_model": reward_model.score(conversations, completions),
        }
    )
    for response_type in rules.response_types:
        inside = np.flatnonzero((frame["response_type"] == response_type).to_numpy())
        values = features(grades[inside], grader.propositions, rules, response_type)
        for column, name in enumerate(rules.feature_names(response_type)):
            if name not in frame:
                frame[name] = np.nan
            frame.loc[inside, name] = values[:, column]
    return frame


@graded_comparisons.gate
def expectations(context: Context) -> list[Part]:
    rules = compiled_rules(context)
    frame = pd.concat(
        [
            pd.read_parquet(context.folder / f"{split}.parquet").assign(split=split)
            for split in rows.SPLITS
        ]
    )
    parts = [no_empty_split(frame)]
    for response_type, alike in frame.groupby("response_type"):
        names = rules.feature_names(str(response_type))
        why = "a feature is a probability"
        checks = [e for n in names for e in (*present(n), between(n, -1e-6, 1 + 1e-6, why))]
        finite = alike.assign(finite=np.isfinite(alike["reward_model"]))[[*names, "finite"]]
        checks.append(one_of("finite", [True], "R_rm is a number"))
        parts.append(Part(str(response_type), finite, checks))
    return parts
