"""``make ui``: taken ports, and that it leaves no process behind."""

import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from tests.servers import alive, wait

# A server with a child in a session of its own, as a training is; both ignore the first signals.
SERVER = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1:]:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN if sys.argv[1] == "stubborn" else signal.default_int_handler)
time.sleep(600)
"""
UI = """
import os, sys
from orchestration import ui
ui.GRACE = 1.0
server = [sys.executable, "-c", sys.argv[1]]
print("starting", flush=True)
sys.exit(ui.run_servers([[*server, "stubborn"], [*server, "parent"]], dict(os.environ)))
"""


@pytest.fixture
def ui():
    """A running UI with two servers, each with a child: the process and its descendants."""
    process = subprocess.Popen([sys.executable, "-c", UI, SERVER])
    family = psutil.Process(process.pid)
    descendants = wait(lambda: len(found := family.children(recursive=True)) == 4 and found, 60)
    time.sleep(0.5)  # their signal handlers
    yield process, descendants
    for left in alive(descendants):
        left.kill()
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_its_processes(ui, number):
    process, descendants = ui
    process.send_signal(number)
    assert process.wait(30) == 0
    assert not alive(descendants)


def test_a_second_signal_does_not_stop_it_from_ending_its_processes(ui):
    process, descendants = ui
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert not alive(descendants)


def test_a_server_that_ends_takes_the_others_with_it(ui):
    process, descendants = ui
    server = next(child for child in descendants if child.cmdline()[-1] == "parent")
    server.kill()
    assert process.wait(30) == 9
    assert not alive(descendants)


@pytest.mark.parametrize("option", ["--port", "--mlflow-port"])
def test_a_taken_port_is_one_line_that_offers_another(root, option):
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        port = taken.getsockname()[1]
        free.bind(("127.0.0.1", 0))
        other = {"--port": "--mlflow-port", "--mlflow-port": "--port"}[option]
        command = [option, str(port), other, str(free.getsockname()[1])]
        free.close()
        done = subprocess.run(
            [sys.executable, "-m", "orchestration.ui", *command],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert f"error: port {port} is taken: free it, or add `{option} " in done.stderr
    offered = int(done.stderr.split(f"{option} ")[1].split("`")[0])
    assert offered > port
