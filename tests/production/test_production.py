"""``make prod-up``, ``prod-status`` and ``prod-down`` on real servers."""

import ipaddress
import os
import re
import signal
import urllib.error
import urllib.request

import psutil
import pytest

from orchestration.production.supervision import Supervisor
from rbr.errors import RBRError
from tests.servers import alive, wait

NAMES = {"mlflow", "code-server", "webserver", "daemon"}


def pids(production):
    """Process ids of the services, as supervisord knows them."""
    return Supervisor(production.root / ".prod").pids()


def started_processes(production):
    """All living processes that production started: services, their children, supervisord."""
    state = str(production.root / ".prod")
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("RBR_STATE") == state:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_all_are_healthy_and_it_says_where(production):
    done = production.call("status")
    assert done.returncode == 0, done.stdout + production.logs()
    assert {line[9:21].strip() for line in done.stdout.splitlines()} == NAMES
    assert str(production.settings["dagster"]["port"]) in done.stdout
    assert str(production.settings["mlflow"]["port"]) in done.stdout


def test_up_twice_changes_nothing(production):
    before = pids(production)
    assert set(before) == NAMES
    assert production.call("up").returncode == 0
    assert pids(production) == before


def test_nothing_listens_beyond_loopback(production):
    processes = started_processes(production)
    assert {process.pid for process in processes} > set(pids(production).values())
    listening = [
        ipaddress.ip_address(c.laddr.ip.removeprefix("::ffff:"))
        for process in processes
        for c in process.net_connections("inet")
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


@pytest.mark.parametrize("service", ["daemon", "mlflow", "code-server"])
def test_a_killed_service_starts_again_by_itself(production, service):
    pid = pids(production)[service]
    children = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    wait(lambda: pids(production)[service] not in (0, pid))
    wait(lambda: production.call("status").returncode == 0, 240, production.logs)
    # What the killed one left was ended first: two code servers would run the same runs.
    assert not alive(children)


def test_a_stopped_service_is_reported_and_up_starts_it(production):
    Supervisor(production.root / ".prod").stop("daemon")
    done = production.call("status")
    assert done.returncode == 1
    assert "stopped  daemon       make prod-up starts it" in done.stdout
    assert production.call("up").returncode == 0
    assert production.call("status").returncode == 0


def test_a_service_that_hangs_is_sick(production):
    pid = pids(production)["webserver"]
    hung = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in hung:
        process.suspend()
    try:
        done = production.call("status")
    finally:
        for process in hung:
            process.resume()
    assert done.returncode == 1
    assert "sick     webserver    does not answer" in done.stdout


def test_a_service_that_cannot_start_is_one_line_with_the_end_of_its_log(production):
    port = production.settings["mlflow"]["port"]
    assert production.call("down").returncode == 0
    production.settings["mlflow"]["port"] = production.postgres.port  # taken
    production.write()
    try:
        done = production.call("up")
    finally:
        production.settings["mlflow"]["port"] = port
        production.write()
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert ".prod/logs/mlflow.log: mlflow ended: " in done.stderr
    assert pids(production)["mlflow"] == 0
    assert production.call("down").returncode == 0
    assert production.call("up").returncode == 0


def test_a_killed_supervisord_leaves_nothing_that_up_does_not_replace(production):
    before = pids(production)
    os.kill(int((production.root / ".prod" / "supervisord.pid").read_text()), signal.SIGKILL)
    assert production.call("status").returncode == 1
    done = production.call("up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert production.call("status").returncode == 0
    assert not [pid for pid in before.values() if psutil.pid_exists(pid)]


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
    assert re.search(r"production\.yaml:\d+:\d+: mlflow\.hots: unknown key", done.stderr)


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


def test_no_secret_is_in_a_file_of_the_state_folder(production):
    files = [p for p in (production.root / ".prod").rglob("*") if p.is_file()]
    assert files
    for path in files:
        assert not [v for v in production.secrets.values() if v.encode() in path.read_bytes()]


def test_a_path_too_long_for_a_socket_is_one_clear_line(tmp_path):
    with pytest.raises(RBRError, match="set a shorter `state`"):
        Supervisor(tmp_path / ("long" * 30))


def test_down_ends_every_process(production):
    assert started_processes(production)
    done = production.call("down")
    assert done.returncode == 0, done.stderr
    log = (production.root / ".prod" / "logs" / "supervisord.log").read_text()
    # The daemon first, so that no run starts meanwhile.
    assert re.findall(r"stopped: (\S+) ", log)[-4:] == [
        "daemon", "webserver", "code-server", "mlflow",
    ]  # fmt: skip
    assert started_processes(production) == []
    assert production.call("status").returncode == 1
