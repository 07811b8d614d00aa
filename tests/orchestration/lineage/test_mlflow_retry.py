"""What is repeated while MLflow does not answer, on a real store behind a client that loses answers."""

import pytest
import requests
from mlflow.exceptions import MlflowException, RestException

from mlflow import MlflowClient
from orchestration.lineage.mlflow_retry import RetryingClient, TrackingError


class Unreliable:
    """A client of a real store; ``answers`` says what becomes of the next calls of one name."""

    def __init__(self, client, name, answers):
        self._client, self._name, self._answers = client, name, answers
        self.calls = 0

    def __getattr__(self, name):
        call = getattr(self._client, name)
        if name != self._name:
            return call

        def unreliable(*args, **kwargs):
            self.calls += 1
            error = self._answers.pop(0) if self._answers else None
            if isinstance(error, Lost):
                call(*args, **kwargs)
                error = TIMEOUT
            if error is not None:
                raise error
            return call(*args, **kwargs)

        return unreliable


class Lost:
    """The server does what the call says, but its answer is lost."""


TIMEOUT = MlflowException("API request to http://x failed with timeout exception read timed out.")
AWAY = [
    TIMEOUT,
    MlflowException("API request to http://x failed with exception connection refused"),
    MlflowException("API request to endpoint /x failed with error code 502 != 200."),
    RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "no database"}),
    requests.exceptions.ConnectionError("refused"),
]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("orchestration.lineage.mlflow_retry.LONGEST_PAUSE", 0.01)


@pytest.fixture
def store(tmp_path):
    return MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")


def retrying(store, name, answers):
    """The client under test, the unreliable one behind it, and its messages."""
    messages = []
    unreliable = Unreliable(store, name, answers)
    return RetryingClient(unreliable, "http://mlflow", messages.append), unreliable, messages


@pytest.mark.parametrize("error", AWAY, ids=lambda error: str(error)[-30:])
def test_a_call_is_repeated_and_the_waiting_logged_once(store, error):
    client, unreliable, messages = retrying(store, "get_experiment_by_name", [error] * 3)
    assert client.get_experiment_by_name("Default").experiment_id == "0"
    assert unreliable.calls == 4
    assert messages == [
        "MLflow at http://mlflow does not answer; waiting up to 600 s",
        "MLflow answers again after 0 s",
    ]


def test_an_error_that_waiting_does_not_cure_is_raised_at_once(store):
    error = RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": "no such key"})
    client, unreliable, messages = retrying(store, "get_experiment_by_name", [error])
    with pytest.raises(RestException, match="no such key"):
        client.get_experiment_by_name("Default")
    assert (unreliable.calls, messages) == (1, [])


def test_refused_credentials_are_one_clear_line(store):
    error = MlflowException("API request to endpoint /x failed with error code 401 != 200.")
    client, *_ = retrying(store, "get_experiment_by_name", [error])
    with pytest.raises(TrackingError, match=r"refuses \(401\): set MLFLOW_TRACKING_USERNAME"):
        client.get_experiment_by_name("Default")


def test_a_server_that_stays_away_is_one_clear_line(store, monkeypatch):
    monkeypatch.setenv("RBR_MLFLOW_PATIENCE", "0.3")
    client, unreliable, _ = retrying(store, "get_experiment_by_name", [TIMEOUT] * 10_000)
    with pytest.raises(TrackingError, match="did not answer for 0 s: start it") as raised:
        client.get_experiment_by_name("Default")
    assert unreliable.calls > 2
    assert raised.value.__cause__ is TIMEOUT


@pytest.mark.parametrize("value", ["soon", "-1", "inf", "nan"])
def test_a_wait_that_is_no_number_of_seconds_is_refused(store, monkeypatch, value):
    monkeypatch.setenv("RBR_MLFLOW_PATIENCE", value)
    with pytest.raises(TrackingError, match=f"number of seconds, not '{value}'"):
        retrying(store, "get_run", [])[0].get_run("x")


@pytest.mark.parametrize("answers", [[Lost()], [TIMEOUT, Lost(), TIMEOUT]])
def test_a_run_whose_answer_was_lost_is_not_created_twice(store, answers):
    client, *_ = retrying(store, "create_run", list(answers))
    first = client.create_run("0", tags={"of": "first"}, run_name="first")
    second = client.create_run("0", run_name="second")
    found = {run.info.run_id: run.info.run_name for run in store.search_runs(["0"])}
    assert found == {first.info.run_id: "first", second.info.run_id: "second"}
    assert first.data.tags["of"] == "first"


def test_a_run_that_never_reached_the_server_is_created(store):
    client, unreliable, _ = retrying(store, "create_run", [TIMEOUT, TIMEOUT])
    run = client.create_run("0")
    assert unreliable.calls == 3
    assert [found.info.run_id for found in store.search_runs(["0"])] == [run.info.run_id]


def test_a_model_version_whose_answer_was_lost_is_not_created_twice(store, tmp_path):
    store.create_registered_model("policy")
    client, unreliable, _ = retrying(store, "create_model_version", [Lost()])
    version = client.create_model_version("policy", tmp_path.as_uri(), tags={"dvc.hash": "a"})
    assert unreliable.calls == 1
    assert [v.version for v in store.search_model_versions("name = 'policy'")] == [version.version]
    assert version.tags["dvc.hash"] == "a"


def test_an_experiment_or_model_whose_answer_was_lost_is_found_by_its_name(store):
    client, *_ = retrying(store, "create_experiment", [Lost()])
    assert client.create_experiment("e") == store.get_experiment_by_name("e").experiment_id
    client, *_ = retrying(store, "create_registered_model", [Lost()])
    assert client.create_registered_model("m", description="d").description == "d"
