"""Ctrl-C during ``make demo``: all of it ends, says how to go on, and leaves no half record."""

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import suppress

import psutil
import pytest

from tests.orchestration.conftest import make_workspace

pytestmark = pytest.mark.smoke_graph


@pytest.mark.parametrize("at_a_time", [1, 2])
def test_ctrl_c_ends_what_is_being_made_and_says_how_to_go_on(root, tmp_path, at_a_time):
    workspace = make_workspace(root, tmp_path / "project")
    if at_a_time > 1:
        workspace.edit("profiles/smoke.yaml", "artifacts: 1", f"artifacts: {at_a_time}")
    running = workspace.start("-m", "orchestration.demo", group=at_a_time > 1)
    output = workspace.root / "started.out"
    # A tuning takes a while: it is met in the middle.
    deadline = time.monotonic() + 300
    while "tuning 2 layers" not in output.read_text() and time.monotonic() < deadline:
        assert running.poll() is None, output.read_text()[-3000:]
        time.sleep(0.1)
    family = psutil.Process(running.pid).children(recursive=True)
    if at_a_time > 1:
        assert family
    for _ in range(6):
        # Once more, as a person would: an import that is under way may swallow it.
        if at_a_time > 1:  # as a terminal sends it: to all of the group
            os.killpg(running.pid, signal.SIGINT)
        else:
            running.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            running.wait(20)
            break
    assert running.returncode == 130, output.read_text()[-3000:]
    text = output.read_text()
    assert "stopped; the same command resumes from here" in text
    assert "Traceback" not in text
    assert psutil.wait_procs(family, timeout=30)[1] == []
    runs = sqlite3.connect(workspace.root / "mlflow" / "mlflow.db").execute(
        "select status from runs join tags on tags.run_uuid = runs.run_uuid"
        " where tags.key = 'rbr.step' and tags.value in ('grader', 'judge')"
    )
    # One that had just begun may have ended.
    assert {"KILLED"} <= {status for (status,) in runs} <= {"KILLED", "FINISHED"}
    states = sqlite3.connect(workspace.root / ".dagster" / "history" / "runs.db").execute(
        "select status from runs"
    )
    # A step that was stopped has failed, as Dagster has it.
    assert [status for (status,) in states] == ["FAILURE"]
