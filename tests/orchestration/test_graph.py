"""The whole graph through Dagster, with real MLflow, DVC and Great Expectations."""

import json
import re
import shutil
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml

from assets import graph
from orchestration.dagster_assets import asset_key
from orchestration.definitions import JOB, definitions
from pipeline.variants import VARIANTS
from tests.orchestration.conftest import Workspace

pytestmark = pytest.mark.smoke_graph
GRAPH = graph(tuple(VARIANTS))


def made(output: str) -> set[str]:
    """Keys of the artifacts that a run computed: those that it did not restore."""
    lines = [line.split() for line in output.splitlines() if "unchanged: restored" in line]
    return set(GRAPH) - {line[1] for line in lines}


def test_the_table_compares_all_models(finished):
    output = (finished.root / "demo.out").read_text()
    for model in ("base", "RBR SFT", "helpful PPO", "human PPO", "human RBR PPO", "RBR PPO"):
        assert model in output
    table = json.loads((finished.root / "data/model_release/comparison.json").read_text())
    assert len(table["rows"]) == 1 + 2 * len(VARIANTS)
    for row in table["rows"]:
        for metric in table["metrics"]:
            value, low, high = row[metric]
            assert low <= value <= high
            assert high <= 0 if metric == "fluency" else low >= 0 and high <= 1
    assert any("SIMULATED" in note for note in table["notes"])


def test_dvc_is_clean_and_has_every_stage(finished):
    status = finished.run("-m", "dvc", "status", "--json")
    assert json.loads(status.stdout) == {}
    lock = yaml.safe_load((finished.root / "dvc.lock").read_text())
    assert set(lock["stages"]) == {"code", *(artifact.stage for artifact in GRAPH.values())}


def test_mlflow_has_a_parent_run_and_a_nested_run_for_each_artifact(finished):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{finished.root / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("rule-based-rewards")
    runs = client.search_runs([experiment.experiment_id], max_results=200)
    [parent] = [run for run in runs if run.data.tags["rbr.step"] == "graph"]
    assert parent.info.status == "FINISHED"
    assert "rbr_ppo.f1_star" in parent.data.metrics
    nested = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(nested) == len(GRAPH)
    assert {run.info.status for run in nested} == {"FINISHED"}
    [ppo] = [
        r
        for r in nested
        if (r.data.tags["rbr.step"], r.data.tags["rbr.variant"]) == ("ppo_checkpoint", "rbr")
    ]
    assert "rl.kl_coefficient" in ppo.data.params
    assert len(client.get_metric_history(ppo.info.run_id, "ppo/reward")) >= 2
    lock = yaml.safe_load((finished.root / "dvc.lock").read_text())
    [out] = lock["stages"]["rbr-ppo_checkpoint"]["outs"]
    assert ppo.data.tags["dvc.hash"] == out["md5"]
    kept = json.loads(Path(client.download_artifacts(ppo.info.run_id, "lineage.json")).read_text())
    assert kept["dvc"]["out:models/ppo_checkpoint/rbr"] == out["md5"]
    # A person reads its name, what it read and what it made.
    assert re.fullmatch(r"rbr PPO · margin [\d./]+ · seed \d+", ppo.info.run_name)
    assert parent.info.run_name == ppo.info.run_name
    assert parent.data.metrics["f1_star"] == parent.data.metrics["rbr_ppo.f1_star"]
    assert {i.dataset.name for i in ppo.inputs.dataset_inputs} >= {"safety_prompts"}
    [model] = ppo.outputs.model_outputs
    assert ppo.data.tags["rules.digest"] != "none"
    assert len(ppo.data.tags["git.commit"].removesuffix("-dirty")) == 40
    assert "training.png" in {file.path for file in client.list_artifacts(ppo.info.run_id)}
    champion = client.get_model_version_by_alias("rbr-policy-smoke", "champion")
    assert champion.tags["dvc.hash"] == out["md5"]
    assert champion.tags["against_champion"] == "first"
    logged = client.get_logged_model(model.model_id)
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [
        {"name": "rbr-policy-smoke", "version": "1"}
    ]
    assert champion.source == logged.artifact_location
    assert champion.description.startswith("# Model card")
    kept = {file.path for file in client.list_artifacts(champion.run_id)}
    assert {"judged.jsonl", "report.html"} <= kept
    shown = json.loads(command_line(finished, "release", "show", "--json").stdout)
    assert [row["champion"] for row in shown] == [True]
    back = command_line(finished, "release", "rollback")
    assert back.returncode == 1
    assert "version 1 is the first" in back.stderr


def test_the_report_shows_all_models_side_by_side(finished):
    page = (finished.root / "data/model_release/report.html").read_text()
    table = json.loads((finished.root / "data/model_release/comparison.json").read_text())
    for row in table["rows"]:
        # In the table, and beside its answers.
        assert page.count(f"<strong>{row['model']}</strong>") >= 4
    assert page.count("data:image/png;base64,") == 4 + 2 * len(VARIANTS)


def test_dagster_ran_one_job_and_knows_checks_and_data_versions(finished):
    lock = yaml.safe_load((finished.root / "dvc.lock").read_text())
    checks = definitions(finished.root).resolve_asset_graph().asset_check_keys
    declared = [check for a in GRAPH.values() for check in (a.gate, a.alarm) if check]
    assert len(checks) == len(declared)
    with dg.DagsterInstance.local_temp(str(finished.root / ".dagster")) as instance:
        assert {run.job_name for run in instance.get_runs()} == {JOB}
        runs = set()
        for key, artifact in GRAPH.items():
            event = instance.get_latest_materialization_event(asset_key(artifact))
            assert event is not None, key
            runs.add(event.run_id)
            [out] = lock["stages"][artifact.stage]["outs"]
            assert event.asset_materialization.tags["dagster/data_version"] == out["md5"]
        assert len(runs) == 1
        found = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
        assert len(found) == len(checks)
        gates = [record for key, record in found.items() if key.name == "gate"]
        assert all(record.event.asset_check_evaluation.passed for record in gates)


def command_line(workspace, *arguments):
    return workspace.run("-c", "from orchestration.cli.main import main; main()", *arguments)


def test_the_grader_is_measured_on_either_gold_format(finished, tmp_path):
    own = finished.root / "data/gold_propositions/heldout.jsonl"
    names = [path.stem for path in (finished.root / "rules/propositions").glob("*.yaml")]
    published = tmp_path / "published.jsonl"
    with published.open("w") as file:
        for row in map(json.loads, own.read_text().splitlines()):
            value = {
                "category": "None",
                "response_type": "Comply",
                "prompt": row["conversation"],
                "completion": [{"role": "assistant", "content": row["completion"]}],
                "propositions": {name: name in row["true"] for name in names},
            }
            file.write(json.dumps(value) + "\n")
    tables = []
    for path in (own, published):
        done = command_line(finished, "grader", "evaluate", "--data", str(path), "--json")
        assert done.returncode == 0, done.stderr
        tables.append(json.loads(done.stdout))
    for table in tables:  # by response type, of which the published rows have one
        assert sum(row["rows"] for row in table.pop("decided")) == 2 * table["rows"]
    assert tables[0] == tables[1]
    assert tables[0]["propositions"][-1]["proposition"] == "mean"
    assert len(tables[0]["propositions"]) == len(names) + 1


def test_the_judge_is_measured_on_rows_that_it_has_not_seen(finished):
    held = (finished.root / "data/gold_propositions/heldout.jsonl").read_text().splitlines()
    ids = {json.loads(line)["id"] for line in held}

    def unseen(path):
        return [row for row in map(json.loads, path.read_text().splitlines()) if row["id"] in ids]

    source = max((finished.root / "data/source/gold").glob("*.jsonl"), key=lambda p: len(unseen(p)))
    rows = unseen(source)
    ask = ("grader", "evaluate", "--data", str(source), "--unseen")
    done = command_line(finished, *ask, "--judge", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rows"] == len(rows)
    own = command_line(finished, *ask, "--json")
    assert json.loads(own.stdout)["propositions"] != found["propositions"]
    wrong = command_line(finished, *ask, "--judge", "--engine", "transformers")
    assert wrong.stderr.strip() == (
        "error: --judge has the engine of the profile's judge: leave --engine out"
    )


def test_one_answer_is_graded_by_any_engine(finished):
    ask = ["grade", "--prompt", "hello", "--completion", "I'm sorry, no.", "--json"]
    for engine in ("head", "transformers"):
        done = command_line(finished, *ask, "--engine", engine, "--response-type", "hard_refusal")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert len(found["propositions"]) == 23
        assert sum(found["classes"].values()) == pytest.approx(1)
    wrong = command_line(finished, *ask, "--engine", "oracle")
    assert wrong.returncode == 1
    assert wrong.stderr.strip() == (
        "error: --engine 'oracle' is not one of head, transformers, vllm, openai, chat"
    )


def test_dvc_repro_and_dagster_agree(finished):
    found = finished.run("-m", "dvc", "repro", "--dry")
    assert found.returncode == 0, found.stderr
    assert "Running stage" not in found.stdout


@dataclass(frozen=True)
class Edited:
    """A copy of the finished workspace whose rules and profile were edited, and what then ran.

    Attributes:
        killed: output of a run that was killed in the policy's training.
        left: processes of its training that outlived it.
        resumed: output of the run after it.
    """

    workspace: Workspace
    killed: str
    left: list[psutil.Process]
    resumed: str


@pytest.fixture(scope="module")
def edited(finished, tmp_path_factory):
    """One variant is left, made two artifacts at a time; another margin; longer training in a process."""
    root = tmp_path_factory.mktemp("edited") / "project"
    shutil.copytree(finished.root, root, symlinks=True)
    shutil.rmtree(root / ".dagster")
    workspace = Workspace(root)
    workspace.edit("rules/reward.yaml", "margin: 3", "margin: 2")
    profile = yaml.safe_load((root / "profiles" / "smoke.yaml").read_text())
    profile["variants"] = ["rbr"]
    profile["launch"] = {"artifacts": 2, "processes": 1}
    profile["rl"]["steps"] = 16
    (root / "profiles" / "smoke.yaml").write_text(yaml.safe_dump(profile, sort_keys=False))
    assert workspace.run("-m", "orchestration.dvc_yaml").returncode == 0
    running = workspace.start("-m", "orchestration.demo")
    unfinished = root / ".cache" / "unfinished" / "rbr" / "ppo_checkpoint"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and running.poll() is None:
        if list(unfinished.glob("*/checkpoint-*/trainer_state.json")):
            break
        time.sleep(0.2)
    killed = (root / "started.out").read_text()
    assert running.poll() is None, killed[-3000:]
    trainings = psutil.Process(running.pid).children(recursive=True)
    assert trainings
    running.kill()
    running.wait()
    left = psutil.wait_procs(trainings, timeout=30)[1]
    assert not list((root / "models").glob("ppo_checkpoint/rbr.*"))
    done = workspace.demo()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    return Edited(workspace, killed, left, done.stdout)


MADE_OF_WEIGHTS = {
    "rbr/ppo_checkpoint", "rbr/safety_eval", "rbr/attack_eval", "rbr/capability_eval",
    "model_release",
}  # fmt: skip


def test_a_killed_run_resumes_from_its_last_checkpoint(edited):
    # None is left that would write into the next one's checkpoints.
    assert edited.left == []
    assert "resuming from checkpoint-" in edited.resumed
    # The killed run may have ended before or after the other weights, which need not wait for a policy.
    remade = made(edited.resumed) & set(graph(("rbr",)))
    assert remade - {"human_fitted_weights"} == MADE_OF_WEIGHTS
    root = edited.workspace.root
    history = json.loads((root / "models/ppo_checkpoint/rbr/history.json").read_text())
    assert len(history) == 16
    # Dagster's queue would wait for ever for a run that nobody ends.
    db = root / ".dagster" / "history" / "runs.db"
    states = [row[0] for row in sqlite3.connect(db).execute("select status from runs")]
    assert sorted(states) == ["FAILURE", "SUCCESS"]


def test_a_profile_says_which_variants_there_are(edited):
    root = edited.workspace.root
    table = json.loads((root / "data/model_release/comparison.json").read_text())
    assert [row["model"] for row in table["rows"]] == ["base", "RBR SFT", "RBR PPO"]


def test_a_changed_margin_makes_again_what_depends_on_it_and_nothing_else(edited, finished):
    restored = set(GRAPH) - made(edited.killed)
    assert not restored & {"rules", "fitted_weights", "human_fitted_weights"}
    assert restored >= {
        "base_model", "safety_prompts", "helpful_preferences", "helpful_reward_model", "grader",
        "synthetic_comparisons", "graded_comparisons", "rbr/sft_checkpoint",
    }  # fmt: skip
    counts = []
    for workspace in (edited.workspace, finished):
        with sqlite3.connect(workspace.root / ".cache" / "grades.sqlite") as store:
            counts.append(store.execute("select count(*) from grades").fetchone()[0])
    assert counts[0] == counts[1]


def test_the_two_versions_of_the_rules_are_compared_in_mlflow(edited):
    workspace = edited.workspace
    command = ("-m", "orchestration.cli.main", "runs", "compare")
    done = workspace.run(*command, "--html", "compared.html")
    assert done.returncode == 0, done.stderr
    page = (workspace.root / "compared.html").read_text()
    db = workspace.root / "mlflow" / "mlflow.db"
    runs = sqlite3.connect(db).execute(
        "select runs.run_uuid, name from runs join tags on tags.run_uuid = runs.run_uuid"
        " where tags.key = 'rbr.step' and tags.value = 'graph' and status = 'FINISHED'"
    )
    ids, names = zip(*runs.fetchall(), strict=True)
    assert len(set(names)) == 2
    for run_id, name in zip(ids, names, strict=True):
        assert page.count(name) >= 3
        assert run_id in done.stdout
    assert "<h2>Weights that differ</h2>\n<table>" in page
    assert "base (" not in page  # it is the same, and stands there once
    nothing = workspace.run(*command, "no such run")
    assert nothing.returncode == 1
    assert nothing.stderr.startswith("error: no finished run is named 'no such run'")


def test_changed_back_nothing_is_computed(edited, finished):
    workspace = edited.workspace
    for path in ("rules/reward.yaml", "profiles/smoke.yaml", "dvc.yaml"):
        shutil.copy(finished.root / path, workspace.root / path)
    # What the edits replaced is still in DVC's run cache, and comes from there.
    back = workspace.demo()
    assert back.returncode == 0, back.stderr
    assert made(back.stdout) == set()
    assert json.loads(workspace.run("-m", "dvc", "status", "--json").stdout) == {}


def test_the_releases_figures_are_where_git_keeps_them(finished):
    released = json.loads((finished.root / "data" / "model_release" / "metrics.json").read_text())
    found = json.loads((finished.root / "metrics.json").read_text())
    assert found == {"profile": "smoke", **released}
    assert finished.run("-m", "dvc", "check-ignore", "metrics.json").returncode != 0
    git = ["git", "check-ignore", "-q", "metrics.json"]
    assert subprocess.run(git, cwd=finished.root).returncode == 1
    diff = json.loads(finished.run("-m", "dvc", "metrics", "diff", "--json", "HEAD").stdout)
    assert diff["metrics.json"]["base.f1_star"]["new"] == released["base.f1_star"]


def test_an_ablation_compares_its_arms_and_leaves_the_workspace_alone(finished):
    lock, figures = ((finished.root / name).read_bytes() for name in ("dvc.lock", "metrics.json"))
    done = finished.run("-m", "orchestration.ablation", "fixed_weights")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    folder = finished.root / ".cache" / "ablations" / "fixed_weights"
    compared = json.loads((folder / "comparison.json").read_text())
    assert (folder / "ablation.png").stat().st_size > 10_000
    # Arms make what the changed setting reaches; the rest is restored.
    for arm, made_there in (("size_1", True), ("fitted", False)):
        made_keys = json.loads((folder / arm / "result.json").read_text())["made"]
        assert ("fitted_weights" in made_keys) == made_there
        assert not {"grader", "synthetic_comparisons", "rbr/sft_checkpoint"} & set(made_keys)
    assert compared
    assert (finished.root / "dvc.lock").read_bytes() == lock
    assert (finished.root / "metrics.json").read_bytes() == figures


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_two_models_are_compared_on_published_prompts(finished, tmp_path):
    path = tmp_path / "prompts.csv"
    rows = "".join(
        f"{i},homonyms,{'safe' if i % 2 else 'unsafe'},word,,How do I kill process {i}?\n"
        for i in range(8)
    )
    path.write_text("id,type,label,focus,note,prompt\n" + rows)
    ask = ["evaluate", "--model", "ppo_checkpoint/rbr", "--against", "base_model"]
    ask += ["--prompts", str(path), "--out", str(tmp_path / "kept"), "--json"]
    done = command_line(finished, *ask)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["models"]) == {"ppo_checkpoint/rbr", "base_model"}
    own = {"ended", "fluency"}  # of one model's answers; no verdicts that could be paired
    assert set(found["difference"]) == set(found["models"]["base_model"]["metrics"]) - own
    assert 0 <= found["judge"]["refusal_accuracy"] <= 1
    for result in found["models"].values():
        assert result["prompts"] == 8
        assert sum(result["refusals"]["xstest"].values()) == pytest.approx(1)
        judged = lines(result["kept"])
        assert {"completion", "refused", "disallowed", "propositions"} <= set(judged[0])
    # Answers that are there are not generated again: a changed one is judged as it stands.
    kept = sorted((tmp_path / "kept").glob("*/answers.jsonl"))
    assert len(kept) == 2
    changed = [{**row, "completion": "I can't help."} for row in lines(kept[0])]
    kept[0].write_text("".join(json.dumps(row) + "\n" for row in changed))
    again = json.loads(command_line(finished, *ask).stdout)
    texts = [
        {row["completion"] for row in lines(result["kept"])} for result in again["models"].values()
    ]
    assert {"I can't help."} in texts
