"""Features and R_rm of every comparison.

``judged_by.json`` says what each proposition was judged by: its text's digest, and the grader.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from rbr.features import features
from rbr.files import write_json
from rbr.steps import common
from rbr.steps.context import Context


def run(context: Context) -> dict[str, float]:
    from rbr.training.reward_model import RewardModel

    rules = context.rules
    grader = common.reward_grader(context)
    reward_model = RewardModel(context.path("helpful_reward_model"))
    metrics: dict[str, float] = {}
    with context.output("graded_comparisons") as folder:
        for split in common.SPLITS:
            rows = common.comparisons(context, split)
            talks = [row.conversation for row in rows]
            texts = [row.completion for row in rows]
            report = common.Reporter(context, f"grading {split} comparisons")
            graded = grader.grade(talks, texts, report)
            context.tracker.message(f"scoring {split} comparisons with the reward model")
            frame = pd.DataFrame(
                {
                    "id": [row.id for row in rows],
                    "prompt_id": [row.prompt_id for row in rows],
                    "response_type": [row.response_type for row in rows],
                    "label": [row.label for row in rows],
                    "reward_model": reward_model.score(talks, texts),
                }
            )
            for kind in rules.response_types:
                inside = np.flatnonzero((frame["response_type"] == kind).to_numpy())
                names = rules.feature_names(kind)
                values = features(graded[inside], grader.propositions, rules, kind)
                for j, name in enumerate(names):
                    if name not in frame:
                        frame[name] = np.nan
                    frame.loc[inside, name] = values[:, j]
            frame.to_parquet(folder / f"{split}.parquet", index=False)
            metrics[f"{split}_rows"] = float(len(frame))
        texts_of = rules.grading_texts()
        judged_by = {
            name: {
                "text": hashlib.sha256(texts_of[name].encode()).hexdigest(),
                "grader": grader.identity(name),
            }
            for name in grader.propositions
        }
        write_json(folder / "judged_by.json", judged_by)
        # Not in the artifact: it depends on what the grade store held.
        context.tracker.metrics({"grader_calls": float(grader.calls)})
        write_json(folder / "metrics.json", metrics)
    return metrics
