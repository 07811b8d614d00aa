"""Artifacts of DVC and of MLflow in a store that speaks S3: a local server of that protocol."""

import shutil

import pytest

from orchestration.materialize import Workspace, make

moto_server = pytest.importorskip("moto.server", reason="needs moto[server]")
boto3 = pytest.importorskip("boto3", reason="needs the extra s3: pip install '.[s3]'")
pytest.importorskip("dvc_s3", reason="needs the extra s3: pip install '.[s3]'")

BUCKET = "artifacts"


@pytest.fixture
def store(monkeypatch):
    """The endpoint of a server with an empty bucket, and a client of it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", endpoint)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET)
    yield endpoint, client
    server.stop()


def keys(client, prefix):
    found = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [entry["Key"] for entry in found.get("Contents", [])]


def test_dvc_and_mlflow_keep_artifacts_in_a_store_of_that_protocol(workspace, store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(workspace.root)
    endpoint, client = store
    root = workspace.root
    (root / "mlflow").mkdir()
    (root / "mlflow" / "server.yaml").write_text(f"artifacts: s3://{BUCKET}/mlflow\n")
    for command in (
        ["remote", "add", "--local", "-d", "store", f"s3://{BUCKET}/dvc"],
        ["remote", "modify", "--local", "store", "endpointurl", endpoint],
    ):
        assert workspace.run("-m", "dvc", *command).returncode == 0

    opened = Workspace.open(root)
    opened.update_code()
    outcome = make(opened, opened.artifact("rules"), "run", print, commit=True)
    assert outcome.gate is not None
    assert outcome.gate.passed
    assert any(key.endswith("gate.json") for key in keys(client, "mlflow/"))

    pushed = workspace.run("-m", "dvc", "push", "rules")
    assert pushed.returncode == 0, pushed.stderr
    assert keys(client, "dvc/")
    made = {path.name: path.read_bytes() for path in outcome.folder.iterdir()}
    shutil.rmtree(outcome.folder)
    shutil.rmtree(root / ".dvc" / "cache")
    pulled = workspace.run("-m", "dvc", "pull", "rules")
    assert pulled.returncode == 0, pulled.stderr
    assert {path.name: path.read_bytes() for path in outcome.folder.iterdir()} == made
