"""The champion alias, on a real registry in a SQLite file."""

import json
import shutil

import pytest
from mlflow.exceptions import MlflowException

from mlflow import MlflowClient
from orchestration.lineage import registry
from orchestration.lineage.mlflow_retry import TrackingError
from rbr.errors import RBRError


@pytest.fixture
def client(tmp_path):
    return MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture
def promote(client, tmp_path):
    experiment = client.create_experiment("e", artifact_location=(tmp_path / "a").as_uri())

    def promote(number, f1_star=0.5):
        run = client.create_run(experiment)
        judged = tmp_path / "ppo.jsonl"
        judged.write_text(json.dumps({"prompt_id": f"of {number}"}) + "\n")
        folder = tmp_path / f"model{number}"
        folder.mkdir(exist_ok=True)
        tags = {"dvc.hash": f"hash{number}", "f1_star": f1_star}
        return registry.promote(client, "laptop", folder, run.info.run_id, tags, judged)

    return promote


def test_the_alias_moves_and_goes_back(client, promote):
    assert registry.champion(client, "laptop") is None
    first, second, third = (promote(i) for i in (1, 2, 3))
    assert str(registry.champion(client, "laptop").version) == third
    assert registry.history(client, "laptop") == [first, second, third]
    assert registry.rollback(client, "laptop") == (third, second)
    assert str(registry.champion(client, "laptop").version) == second
    assert registry.rollback(client, "laptop") == (second, first)
    with pytest.raises(RBRError, match=f"version {first} is the first"):
        registry.rollback(client, "laptop")
    assert str(registry.champion(client, "laptop").version) == first
    # All versions are still there.
    assert len(client.search_model_versions("name = 'rbr-policy-laptop'")) == 3


def test_the_same_checkpoint_is_one_version_and_stands_once_in_the_history(client, promote):
    first = promote(1)
    assert promote(1) == first
    assert registry.history(client, "laptop") == [first]
    promote(2)
    assert promote(1) == first
    assert str(registry.champion(client, "laptop").version) == first
    assert len(registry.history(client, "laptop")) == 3


def test_a_version_without_judged_answers_has_none(client, promote):
    promote(1)
    version = registry.champion(client, "laptop")
    shutil.rmtree(client.get_run(version.run_id).info.artifact_uri.removeprefix("file://"))
    assert registry.judged_rows(client, version) is None


def test_judged_answers_that_cannot_be_read_are_an_error(client, promote, monkeypatch):
    promote(1)
    version = registry.champion(client, "laptop")

    def fail(*_):
        raise MlflowException("connection reset")

    for call in ("list_artifacts", "download_artifacts"):
        with monkeypatch.context() as patch:
            patch.setattr(client, call, fail)
            with pytest.raises(TrackingError, match=r"judged answers of version 1.*reset"):
                registry.judged_rows(client, version)


def test_what_was_judged_is_kept_with_its_version(client, promote):
    promote(1)
    version = registry.champion(client, "laptop")
    promote(2)
    assert registry.judged_rows(client, version) == [{"prompt_id": "of 1"}]


def test_nothing_released_is_said(client):
    with pytest.raises(RBRError, match="nothing was released"):
        registry.rollback(client, "laptop")


def test_the_best_champion_comes_first_and_one_rolled_back_is_none(client, promote):
    low, high, middle, highest = (promote(i, f1) for i, f1 in enumerate((0.2, 0.8, 0.5, 0.9)))
    found = [str(version.version) for version in registry.champions(client, "laptop")]
    assert found == [highest, high, middle, low]
    registry.rollback(client, "laptop")
    found = [str(version.version) for version in registry.champions(client, "laptop")]
    assert found == [high, middle, low]
