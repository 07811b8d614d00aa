"""Grading prompts in MLflow's registry: each version once, with the graders that ask it."""

import json

import pytest
from mlflow.exceptions import MlflowException

from orchestration.lineage.prompts import register_prompts
from orchestration.lineage.tracking import StepRun, open_client
from rbr.grading.engines.openai import OpenAIEngine
from rbr.grading.load import make_chat_grader
from rbr.grading.options import GraderOptions
from rbr.grading.yesno import FittedPrompt, YesNoGrader


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project").mkdir()
    client = open_client(tmp_path / "project", print)
    experiment = client.create_experiment("x")
    found = StepRun(tmp_path / "project", client.create_run(experiment).info.run_id, print)
    return found, client, experiment


def test_what_propositions_are_asked_with_is_registered_once_and_linked(run, rules, tmp_path):
    own, client, experiment = run
    names = rules.proposition_names[:2]
    engine = OpenAIEngine("http://127.0.0.1:1/v1", "m", tmp_path)

    def record(style):
        grader = YesNoGrader(engine, rules, dict.fromkeys(names, FittedPrompt(style)))
        templates = {name: grader.templates()[name] for name in names}
        own.prompts("grader", templates, {name: grader.identity(name) for name in names})
        return grader, templates

    for style, version in (("question", 1), ("question", 1), ("criteria", 2)):
        grader, templates = record(style)
        for name in names:
            found = client.load_prompt(f"prompts:/rbr.grader.{name}@latest", cache_ttl_seconds=0)
            assert (found.version, found.template) == (version, templates[name])
            assert rules.propositions[name].question in found.template
            assert found.variables == {"conversation"}
            # From a grade's grader to the prompt that it was asked with.
            assert found.tags[f"rbr.identity/{grader.identity(name)}"] == own.run_id
    linked = json.loads(client.get_run(own.run_id).data.tags["mlflow.linkedPrompts"])
    assert linked == [{"name": f"rbr.grader.{name}", "version": "2"} for name in names]
    assert experiment in client.get_prompt(f"rbr.grader.{names[0]}").tags["_mlflow_experiment_ids"]
    # Nothing is written where the process happens to stand.
    assert [path.name for path in tmp_path.iterdir()] == ["project"]


def test_a_store_without_prompts_is_told_and_no_failure(run):
    class Old:
        def __getattr__(self, name):
            raise MlflowException("no such endpoint")

    lines = []
    register_prompts(Old(), "run", "judge", {"one": "text"}, {"one": "id"}, lines.append)
    assert lines == ["the grading prompts are not registered: MLflow says no such endpoint"]


def test_the_turns_of_a_chat_are_a_prompt_too(run, rules):
    own, client, _ = run
    options = GraderOptions(engine="chat", address="http://127.0.0.1:1/v1", served_name="m")
    grader = make_chat_grader(options, rules, "m")
    name = rules.proposition_names[0]
    for _ in range(2):
        own.prompts("judge", {name: grader.templates()[name]}, {name: grader.identity(name)})
    found = client.load_prompt(f"prompts:/rbr.judge.{name}@latest", cache_ttl_seconds=0)
    assert found.version == 1
    assert [turn["role"] for turn in found.template] == ["system", "user"]
    assert found.variables == {"prompt", "answer"}
