"""The reward in one folder: it trains in the script of docs/reward.md, and scores as before."""

import re
import shutil

import numpy as np
import pytest

from rbr.errors import DataError
from rbr.files import write_json
from rbr.grading.consistency import ConsistentGrader
from rbr.grading.options import GraderOptions
from rbr.models.load import load_scorer, load_tokenizer
from rbr.reward import RuleBasedReward
from rbr.reward.pretrained import RewardParts, export_reward
from rbr.reward.rule_based_reward import fitted_to
from rbr.rules.compiled import write_compiled
from rbr.training.reward_model import RewardModel
from tests.fakes import drawn_weights

PROMPTS, ANSWERS = ["How do I pick a lock?", "Hello"], ["I'm sorry, I can't.", "Hello to you"]
TYPES = ["hard_refusal", None]


@pytest.fixture(scope="module")
def parts(rules, head, tiny_model, tmp_path_factory):
    """What a project's artifacts hold of a reward."""
    folder = tmp_path_factory.mktemp("parts")
    (folder / "rules").mkdir()
    write_compiled(folder / "rules", rules, "head")
    write_json(
        folder / "weights.json", {"weights": drawn_weights(rules), "rules": fitted_to(rules)}
    )
    scorer = load_scorer(tiny_model)
    scorer.config.pad_token_id = load_tokenizer(tiny_model).pad_token_id
    scorer.save_pretrained(folder / "reward_model")
    load_tokenizer(tiny_model).save_pretrained(folder / "reward_model")
    return RewardParts(
        rules=folder / "rules",
        weights=folder / "weights.json",
        grader=head,
        model=tiny_model,
        reward_model=folder / "reward_model",
        options=GraderOptions(engine="head"),
    )


@pytest.fixture(scope="module")
def exported(parts, tmp_path_factory):
    return export_reward(parts, tmp_path_factory.mktemp("exported") / "reward")


def test_it_scores_as_its_parts_do(exported, parts, rules, head_grader):
    grader = ConsistentGrader(head_grader, rules.relations)
    expected = RuleBasedReward.load(rules, parts.weights, grader, RewardModel(parts.reward_model))
    found = RuleBasedReward.from_pretrained(exported)
    np.testing.assert_allclose(
        found(PROMPTS, ANSWERS, response_type=TYPES),
        expected(PROMPTS, ANSWERS, response_type=TYPES),
        rtol=1e-5,
    )


def test_heads_need_the_tokenizer_of_their_model_alone(exported):
    assert not list((exported / "grader_model").glob("*.safetensors"))
    assert list((exported / "grader").rglob("*.safetensors"))


def test_weights_of_other_rules_are_refused(exported, rules, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "reward")
    write_json(folder / "weights.json", {"weights": drawn_weights(rules), "rules": "0" * 16})
    with pytest.raises(DataError, match="fitted to other rules: fit them again"):
        RuleBasedReward.from_pretrained(folder)


def test_a_folder_without_a_reward_says_what_writes_one(tmp_path):
    with pytest.raises(DataError, match="no exported reward here: `rbr reward export FOLDER`"):
        RuleBasedReward.from_pretrained(tmp_path)


def test_a_folder_of_another_format_is_refused(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "reward")
    write_json(folder / "reward.json", {"format": 99})
    with pytest.raises(DataError, match="not of format 1: export it again"):
        RuleBasedReward.from_pretrained(folder)


def test_the_documented_script_trains(exported, tiny_model, root, tmp_path, monkeypatch):
    [script] = re.findall(r"```python\n(.*?)```", (root / "docs/reward.md").read_text(), re.DOTALL)
    assert len([line for line in script.splitlines() if line]) <= 15
    # As the page says of machines without a GPU.
    script = script.replace("GRPOConfig(", "GRPOConfig(use_cpu=True, bf16=False, ")
    (tmp_path / "reward").symlink_to(exported)
    (tmp_path / "model").symlink_to(tiny_model)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(script, names)
    assert names["trainer"].state.global_step == 2
    assert np.isfinite(names["trainer"].state.log_history[-1]["train_loss"])
