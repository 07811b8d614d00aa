"""``dvc.yaml`` is what the declarations say."""

import pytest
import yaml

from assets import graph
from orchestration.dvc_yaml import render, require_current
from pipeline.profile import ExternalSet, read_settings
from pipeline.variants import VARIANTS
from rbr.errors import RBRError
from tests.orchestration.stages import GRAPH


@pytest.fixture(scope="module")
def stages():
    return yaml.safe_load(render(GRAPH))["stages"]


def test_the_file_is_current(root):
    artifacts = graph(read_settings(root)[1].variants)
    assert (root / "dvc.yaml").read_text() == render(artifacts), (
        "run python -m orchestration.dvc_yaml"
    )


def test_a_file_of_other_declarations_is_named(tmp_path):
    (tmp_path / "dvc.yaml").write_text(render(GRAPH, inside=False))
    require_current(tmp_path, GRAPH)
    with pytest.raises(RBRError, match=r"dvc\.yaml: .*python -m orchestration\.dvc_yaml"):
        require_current(tmp_path, graph(("rbr",)))


def test_without_the_code_in_the_workspace_its_stage_always_runs(tmp_path, stages):
    (tmp_path / "dvc.yaml").write_text(render(GRAPH))
    with pytest.raises(RBRError, match="run `python -m orchestration"):
        require_current(tmp_path, GRAPH)
    apart = yaml.safe_load(render(GRAPH, inside=False))["stages"]
    assert apart.pop("code")["always_changed"] and "always_changed" not in stages["code"]
    assert all(apart[stage] == stages[stage] for stage in apart)
    for package in ("rbr", "pipeline", "assets"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    require_current(tmp_path, GRAPH)


def test_there_is_a_stage_for_each_artifact_of_each_variant_and_one_for_the_code(stages):
    evaluations = ("safety_eval", "attack_eval", "capability_eval")
    per_variant = ("sft_checkpoint", "ppo_checkpoint", *evaluations)
    expected = {f"{variant}-{name}" for variant in VARIANTS for name in per_variant}
    assert expected <= set(stages)
    assert len(stages) == 1 + 23 + len(expected)
    assert set(stages["code"]["deps"]) == {"assets", "pipeline", "rbr"}


def test_each_stage_depends_on_the_digest_of_its_own_code(stages):
    for stage, content in stages.items():
        if stage != "code":
            assert f"data/code/{stage.rpartition('-')[2]}" in content["deps"]


def test_weights_do_not_depend_on_the_wording_of_propositions(stages):
    assert "data/rules/ranking.json" in stages["fitted_weights"]["deps"]
    assert "data/rules/propositions.json" not in stages["fitted_weights"]["deps"]
    assert "data/rules/ranking.json" not in stages["grader"]["deps"]


def test_a_variant_depends_on_what_its_own_reward_reads(stages):
    reads = {variant: set(stages[f"{variant}-ppo_checkpoint"]["deps"]) for variant in VARIANTS}
    assert "data/fitted_weights" in reads["rbr"]
    assert "models/human_reward_model" not in reads["rbr"]
    assert {"models/human_reward_model", "data/human_fitted_weights"} <= reads["human_rbr"]
    assert not {"models/helpful_reward_model", "data/fitted_weights"} & reads["human_rbr"]
    assert reads["human"] == {
        "data/code/ppo_checkpoint",
        "data/helpful_preferences",
        "data/safety_prompts",
        "models/human_reward_model",
        "models/sft_checkpoint/human",
    }


def test_an_external_set_adds_a_stage_of_its_own_that_the_release_alone_reads(stages):
    sets = {
        "ours": ExternalSet(format="harmbench", source="data/external/ours.parquet"),
        "theirs": ExternalSet(format="or-bench", source="owner/name", config="hard"),
    }
    added = yaml.safe_load(render(graph(tuple(VARIANTS), tuple(sets.items()))))["stages"]
    ours, theirs = (added.pop(f"external_eval-{name}") for name in sets)
    release = added.pop("model_release")
    assert added == {name: stage for name, stage in stages.items() if name != "model_release"}
    extra = set(release["deps"]) - set(stages["model_release"]["deps"])
    assert extra == {"data/external_eval/ours", "data/external_eval/theirs"}
    assert set(ours["deps"]) - set(theirs["deps"]) == {"data/external/ours.parquet"}
    assert {"data/code/external_eval", "models/ppo_checkpoint/human"} <= set(theirs["deps"])
    [params] = theirs["params"]
    assert params == {
        "profiles/${profile}.yaml": ["seed", "variants", "evaluation", "external_eval.theirs"]
    }


def test_what_python_compiles_is_no_code(workspace):
    ignored = workspace.run("-m", "dvc", "check-ignore", "rbr/__pycache__/files.cpython-311.pyc")
    assert ignored.returncode == 0, ignored.stdout + ignored.stderr
    assert workspace.run("-m", "dvc", "check-ignore", "rbr/files.py").returncode == 1
