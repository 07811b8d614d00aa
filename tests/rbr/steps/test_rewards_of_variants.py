"""Which reward model and weights each variant is trained against, and how weights on the human one are fitted."""

import json

import numpy as np
import pandas as pd
import pytest

from rbr.data.rows import Comparison, Message
from rbr.files import write_rows
from pipeline.profile import VARIANTS, Settings
from rbr.steps import STEPS, Context, common, ppo_checkpoint, run_step
from rbr.training import reward_model
from tests.fakes import ranked_comparisons

PARTS = {
    "helpful": {"reward_model": "helpful_reward_model"},
    "human": {"reward_model": "human_reward_model"},
    "rbr": {"reward_model": "helpful_reward_model", "weights": "fitted_weights"},
    "human_rbr": {"reward_model": "human_reward_model", "weights": "human_fitted_weights"},
}
SPLITS = ("train", "validation", "eval")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variants_reward_is_of_what_its_step_needs(variant):
    parts = common.reward_parts(variant)
    assert parts == PARTS[variant]
    rewards = {part for own in PARTS.values() for part in own.values()}
    assert rewards & set(STEPS["ppo_checkpoint"].needs_of(variant)) == set(parts.values())


def test_without_a_variant_it_is_that_of_the_release():
    assert common.reward_parts(None) == PARTS["rbr"]


@pytest.fixture
def made(tmp_path):
    """Reward models and weights, each of its own bytes."""
    models = ("helpful_reward_model", "human_reward_model", "sft_checkpoint/rbr")
    files = [f"models/{name}/model.safetensors" for name in models]
    files += [f"data/{name}/weights.json" for name in ("fitted_weights", "human_fitted_weights")]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text(file)
    return tmp_path


def test_what_a_policy_was_trained_against_is_told_by_content(made):
    told = {v: ppo_checkpoint.trained_against(Context(made, Settings(), v)) for v in VARIANTS}
    assert told["rbr"]["reward_model"] == told["helpful"]["reward_model"]
    assert told["human_rbr"]["reward_model"] == told["human"]["reward_model"]
    assert told["rbr"]["reward_model"] != told["human"]["reward_model"]
    assert told["rbr"]["weights"] != told["human_rbr"]["weights"]


@pytest.mark.parametrize(
    "changed", ["models/helpful_reward_model/model.safetensors", "data/fitted_weights/weights.json"]
)
def test_a_killed_training_does_not_go_on_against_another_reward(made, monkeypatch, changed):
    from rbr.training import launch

    folders = []

    def killed(name, context, scratch, folder):
        folders.append(scratch)
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "launched", killed)
    for text in (None, "other", None):
        if text:
            (made / changed).write_text(text)
        with pytest.raises(KeyboardInterrupt):
            ppo_checkpoint.run(Context(made, Settings(), "rbr"))
    assert folders[0] != folders[1] == folders[2]


class Human:
    """Scores the worse labels higher, by the conversation and completion that it is given."""

    def __init__(self, folder):
        assert folder.name == "human_reward_model"

    def score(self, conversations, completions):
        for talk, text in zip(conversations, completions, strict=True):
            assert text.startswith(f"{talk[-1].content} ")
        return np.array([float(text.split()[-1]) for text in completions])


def test_weights_on_the_human_reward_model_are_fitted_beside_its_scores(
    rules, rules_folder, monkeypatch
):
    monkeypatch.setattr(reward_model, "RewardModel", Human)
    context = Context(rules_folder.parent, Settings())
    for split in SPLITS:
        graded, asked = [], []
        for row in (row for kind in rules.reward for row in ranked_comparisons(rules, kind, split)):
            # The helpful-only one's scores are right already: these must not be what counts.
            graded.append({**row, "reward_model": -row["reward_model"]})
            asked.append(
                Comparison(
                    **{name: row[name] for name in ("id", "prompt_id", "response_type", "label")},
                    family="f", source="composed", true=(), graded=(),
                    conversation=(Message(role="user", content=row["prompt_id"]),),
                    completion=f"{row['prompt_id']} {row['label']} {row['reward_model']}",
                    label_probability=1.0, confirmed=True,
                )
            )  # fmt: skip
        folder = context.path("graded_comparisons")
        folder.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(graded).to_parquet(folder / f"{split}.parquet")
        folder = context.path("synthetic_comparisons")
        folder.mkdir(parents=True, exist_ok=True)
        # In another order: they are found by their ids.
        write_rows(folder / f"{split}.jsonl", asked[::-1])
    reports = {}
    for name in ("fitted_weights", "human_fitted_weights"):
        run_step(name, context)
        assert set(json.loads((context.path(name) / "weights.json").read_text())["weights"])
        reports[name] = json.loads((context.path(name) / "report.json").read_text())
    for kind in rules.reward:
        helpful, human = (reports[name][kind]["pair_error"] for name in reports)
        assert (helpful["reward_model"], human["reward_model"]) == (0.0, 1.0)
        assert human["total"] < 0.1
