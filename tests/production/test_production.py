"""``make prod-up``, ``prod-status`` and ``prod-down`` on real servers."""

import ipaddress
import json
import os
import signal
import urllib.error
import urllib.request

import psutil
import pytest

NAMES = {"mlflow", "code server", "webserver", "daemon"}


def processes(production):
    return json.loads((production.root / ".prod" / "processes.json").read_text())


def test_all_are_healthy_and_it_says_where(production):
    done = production.call("status")
    assert done.returncode == 0, done.stdout + production.logs()
    assert {line[9:21].strip() for line in done.stdout.splitlines()} == NAMES
    assert str(production.settings["dagster"]["port"]) in done.stdout
    assert str(production.settings["mlflow"]["port"]) in done.stdout


def test_up_twice_changes_nothing(production):
    before = processes(production)
    assert set(before) == NAMES
    assert production.call("up").returncode == 0
    assert processes(production) == before


def test_nothing_listens_beyond_loopback(production):
    mine = {psutil.Process(int(pid)).pid for pid, _ in processes(production).values()}
    for pid in list(mine):
        mine |= {child.pid for child in psutil.Process(pid).children(recursive=True)}
    listening = [
        ipaddress.ip_address(c.laddr.ip.removeprefix("::ffff:"))
        for pid in mine
        for c in psutil.Process(pid).net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert all(address.is_loopback for address in listening)


def test_mlflow_asks_for_a_password(production):
    port = production.settings["mlflow"]["port"]
    url = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=30)
    assert refused.value.code == 401


def test_a_dead_process_is_seen_and_started_again(production):
    pid = int(processes(production)["daemon"][0])
    os.kill(pid, signal.SIGKILL)
    done = production.call("status")
    assert done.returncode == 1
    assert "dead     daemon" in done.stdout
    done = production.call("up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert production.call("status").returncode == 0
    assert int(processes(production)["daemon"][0]) != pid


def test_a_missing_secret_is_one_clear_line(production):
    gone = production.secrets.pop("RBR_MLFLOW_PASSWORD")
    try:
        done = production.call("up")
    finally:
        production.secrets["RBR_MLFLOW_PASSWORD"] = gone
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "error: production.yaml: set the environment variables RBR_MLFLOW_PASSWORD"
    )


def test_a_wrong_key_of_the_settings_file_is_named(production):
    text = (production.root / "production.yaml").read_text()
    try:
        production.settings["mlflow"]["hots"] = "x"
        production.write()
        done = production.call("status")
    finally:
        del production.settings["mlflow"]["hots"]
        (production.root / "production.yaml").write_text(text)
    assert done.returncode == 1
    assert "production.yaml: mlflow.hots" in done.stderr


def test_a_wrong_password_of_postgresql_is_one_clear_line(production):
    right = production.secrets["RBR_POSTGRES_PASSWORD"]
    production.secrets["RBR_POSTGRES_PASSWORD"] = "never-the-password-0c1"
    try:
        done = production.call("up")
    finally:
        production.secrets["RBR_POSTGRES_PASSWORD"] = right
    assert done.returncode == 1
    assert "password authentication failed" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "never-the-password-0c1" not in done.stderr
