"""Weights on the human reward model: the same features beside its scores."""

import numpy as np
import pandas as pd

from pipeline.profile import Settings
from rbr.data.rows import Comparison, Message
from rbr.files import read_json, write_rows
from rbr.training import reward_model
from tests.assets.bodies import compile_rules, context_of, make
from tests.fakes import ranked_comparisons


class Human:
    """Scores the worse labels higher, by the conversation and completion that it is given."""

    def __init__(self, folder):
        assert folder.name == "human_reward_model"

    def score(self, conversations, completions):
        for conversation, text in zip(conversations, completions, strict=True):
            assert text.startswith(f"{conversation[-1].content} ")
        return np.array([float(text.split()[-1]) for text in completions])


def test_weights_on_the_human_reward_model_are_fitted_beside_its_scores(
    rules, tmp_path, monkeypatch
):
    monkeypatch.setattr(reward_model, "RewardModel", Human)
    compile_rules(tmp_path, rules)
    data = tmp_path / "data"
    for name in ("graded_comparisons", "synthetic_comparisons"):
        (data / name).mkdir()
    for split in ("train", "validation", "eval"):
        graded, comparisons = [], []
        for row in (row for kind in rules.reward for row in ranked_comparisons(rules, kind, split)):
            # The helpful-only one's scores are right already: these must not be what counts.
            graded.append({**row, "reward_model": -row["reward_model"]})
            comparisons.append(
                Comparison(
                    **{name: row[name] for name in ("id", "prompt_id", "response_type", "label")},
                    family="f", source="composed", true=(), graded=(),
                    conversation=(Message(role="user", content=row["prompt_id"]),),
                    completion=f"{row['prompt_id']} {row['label']} {row['reward_model']}",
                    label_probability=1.0, confirmed=True,
                )
            )  # fmt: skip
        pd.DataFrame(graded).to_parquet(data / "graded_comparisons" / f"{split}.parquet")
        # In another order: they are found by their ids.
        write_rows(data / "synthetic_comparisons" / f"{split}.jsonl", comparisons[::-1])
    reports = {}
    for name in ("fitted_weights", "human_fitted_weights"):
        settings = Settings(weights={"l2_path": (1e-2,)})
        context = context_of(tmp_path, name, settings)
        make(context)
        assert set(read_json(context.folder / "weights.json")["weights"]) == set(rules.reward)
        reports[name] = read_json(context.folder / "report.json")
    for kind in rules.reward:
        helpful, human = (reports[name][kind]["pair_error"] for name in reports)
        assert (helpful["reward_model"], human["reward_model"]) == (0.0, 1.0)
        assert human["total"] < 0.1
