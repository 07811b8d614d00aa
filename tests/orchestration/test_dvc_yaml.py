"""``dvc.yaml`` is what the registry says."""

import yaml

from orchestration.dvc_yaml import render
from rbr.steps import STEPS


def test_the_file_is_current(root):
    assert (root / "dvc.yaml").read_text() == render(), "run python -m orchestration.dvc_yaml"


def test_there_is_a_stage_for_each_artifact_and_per_variant_where_there_are_some():
    stages = yaml.safe_load(render())["stages"]
    assert set(stages) == set(STEPS)
    assert {n for n, s in stages.items() if "foreach" in s} == {
        n for n, s in STEPS.items() if s.variants
    }


def test_weights_do_not_depend_on_the_wording_of_propositions():
    stages = yaml.safe_load(render())["stages"]
    assert "data/rules/ranking.json" in stages["fitted_weights"]["deps"]
    assert "data/rules/propositions.json" not in stages["fitted_weights"]["deps"]
    assert "data/rules/ranking.json" not in stages["grader"]["deps"]


def test_a_variant_depends_on_what_its_own_reward_reads():
    stage = yaml.safe_load(render())["stages"]["ppo_checkpoint"]
    items = stage["foreach"]
    assert "data/fitted_weights" in items["rbr"]["own"]
    assert "models/human_reward_model" not in items["rbr"]["own"]
    on_human = {"models/human_reward_model", "data/human_fitted_weights"}
    assert on_human <= set(items["human_rbr"]["own"])
    assert not {"models/helpful_reward_model", "data/fitted_weights"} & set(
        items["human_rbr"]["own"]
    )
    assert set(items["human"]["own"]) - set(stage["do"]["deps"]) == {
        "models/human_reward_model",
        "models/sft_checkpoint/human",
    }
