"""The record of a run, in a SQLite file: names, columns, datasets, models, lineage."""

import json
from pathlib import Path

import pytest

from assets import graph
from orchestration.lineage import experiment, made_by, registry
from orchestration.lineage.tracking import LINEAGE, Tracking
from pipeline.profile import Settings
from pipeline.variants import VARIANTS
from rbr.rules import load_rules

GRAPH = graph(tuple(VARIANTS))
HASHES = {
    "dep:data/safety_prompts": "a" * 32 + ".dir",
    "dep:data/code/ppo_checkpoint": "b" * 32,
    "dep:data/rules/roles.json": "c" * 32,
    "dep:models/sft_checkpoint/rbr": "d" * 32 + ".dir",
    "out:models/ppo_checkpoint/rbr": "e" * 32 + ".dir",
}


@pytest.fixture
def tracking(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Tracking(tmp_path)


def ppo(tracking, name="rbr PPO · margin 1 · seed 0", graph_run="g"):
    with tracking.step(
        GRAPH["rbr/ppo_checkpoint"], name, graph_run, "smoke", {"seed": 0}, print
    ) as run:
        run.lineage(HASHES, "f" * 64, HASHES["out:models/ppo_checkpoint/rbr"])
        run.model("rbr-ppo_checkpoint", HASHES["out:models/ppo_checkpoint/rbr"], {"seed": 0})
    return tracking.client.get_run(run.run_id)


def test_a_run_has_its_lineage_as_one_file_and_three_tags(tracking):
    run = ppo(tracking)
    kept = tracking.client.download_artifacts(run.info.run_id, LINEAGE)
    assert json.loads(Path(kept).read_text()) == {"dvc": HASHES, "rules": "f" * 64}
    assert run.data.tags["dvc.hash"] == "e" * 32 + ".dir"
    assert run.data.tags["rules.digest"] == "f" * 64
    assert "git.commit" in run.data.tags
    assert not any(key.startswith(("dvc.dep", "dvc.out")) for key in run.data.tags)


def test_a_run_has_source_datasets_and_model(tracking):
    run = ppo(tracking)
    assert run.data.tags["mlflow.source.name"] == "assets/ppo_checkpoint.py"
    [read] = run.inputs.dataset_inputs  # neither code nor rules are data
    assert (read.dataset.name, read.dataset.digest) == ("safety_prompts", "a" * 32 + ".dir")
    [made] = run.outputs.model_outputs
    model = tracking.client.get_logged_model(made.model_id)
    assert (model.name, str(model.status)) == ("rbr-ppo_checkpoint", "READY")
    assert model.tags["dvc.hash"] == "e" * 32 + ".dir"


def test_the_experiment_opens_as_trainings_with_the_columns_that_compare_them(tracking):
    tags = tracking.client.get_experiment(tracking.experiment).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    view = json.loads(tags["mlflow.sharedViewState.rbr"])
    assert isinstance(view["createdAt"], int)
    columns = json.loads(view["state"])["selectedColumns"]
    for metric in ("f1_star", "not_unsafe", "not_overrefuse", "ideal_refusal", "fluency"):
        assert f"metrics.`{metric}`" in columns
    assert {"tags.`rbr.variant`", "tags.`rules.digest`", "attributes.`Version`"} <= set(columns)
    assert experiment.view_path(tracking.experiment) in tags["mlflow.note.content"]


def finish(tracking, graph_run, tmp_path, name="rbr PPO · margin 1 · seed 0"):
    run = tracking.finish(
        graph_run, "smoke", name, "f" * 64, {"seed": 0}, {"rbr_ppo.f1_star": 0.5}, tmp_path
    )
    return tracking.client.get_run(run.run_id)


def test_a_graph_run_has_its_policys_name_and_metrics_and_a_number_where_the_name_is_taken(
    tracking, tmp_path
):
    (tmp_path / "files").mkdir()
    names = [finish(tracking, graph_run, tmp_path / "files").info.run_name for graph_run in "abb"]
    first = "rbr PPO · margin 1 · seed 0"
    assert names == [first, f"{first} · 2", f"{first} · 2"]
    run = finish(tracking, "a", tmp_path / "files")
    assert run.data.metrics == {"rbr_ppo.f1_star": 0.5, "f1_star": 0.5}
    assert run.data.tags["rbr.variant"] == "rbr"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("rbr/ppo_checkpoint", "rbr PPO · margin 1/3/5 · seed 0"),
        ("human_rbr/ppo_checkpoint", "human rbr PPO · margin 1/3/5 · seed 0"),
        ("helpful/ppo_checkpoint", "helpful PPO · seed 0"),  # no rules in its reward
        ("rbr/sft_checkpoint", "rbr SFT · seed 0"),
        ("human/safety_eval", "human safety eval"),
        ("fitted_weights", "fitted weights"),
    ],
)
def test_a_run_is_named_as_a_person_names_it(root, tmp_path, key, name):
    written = load_rules(root / "rules")
    first = next(iter(written.reward))
    edited = written.reward | {first: written.reward[first].model_copy(update={"margin": 5.0})}
    object.__setattr__(written, "reward", edited)
    assert experiment.run_name(GRAPH[key], Settings(), written) == name


def test_before_the_rules_are_compiled_no_margin_is_named():
    assert experiment.run_name(GRAPH["rbr/ppo_checkpoint"], Settings(), None) == "rbr PPO · seed 0"


def test_what_is_restored_links_to_the_run_that_made_it(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made_by.store(tmp_path, "grader", "a.dir", "r1", "1")
    run, url = made_by.found(tmp_path, "grader", "a.dir")
    assert (run, url) == ("r1", "http://127.0.0.1:5000/#/experiments/1/runs/r1")
    assert made_by.found(tmp_path, "grader", "b.dir") == (None, None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    assert (
        made_by.found(tmp_path, "grader", "a.dir")[1]
        == "https://mlflow.example/#/experiments/1/runs/r1"
    )


def test_a_release_registers_the_trainings_model_with_files_signature_and_card(tracking, tmp_path):
    trained = ppo(tracking)
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (tmp_path / "ppo.jsonl").write_text("{}\n")
    tags = {"dvc.hash": "e" * 32 + ".dir", "f1_star": 0.5}
    with tracking.step(GRAPH["model_release"], "model release", "g", "smoke", {}, print) as run:
        number = registry.promote(
            tracking.client, "smoke", folder, run.run_id, tags, tmp_path / "ppo.jsonl", "# Card"
        )
    version = tracking.client.get_model_version("rbr-policy-smoke", number)
    [made] = trained.outputs.model_outputs
    logged = tracking.client.get_logged_model(made.model_id)
    assert (version.description, version.source) == ("# Card", logged.artifact_location)
    versions = json.loads(logged.tags["mlflow.modelVersions"])
    assert versions == [{"name": "rbr-policy-smoke", "version": number}]
    files = Path(logged.artifact_location.removeprefix("file://"))
    assert {path.name for path in files.iterdir()} == {"config.json", "MLmodel", "README.md"}
    assert "completion" in (files / "MLmodel").read_text()
