"""``rbr serve``: one line on what is missing, and a real process that stops on SIGTERM."""

import os
import signal
import subprocess
import sys

import httpx
import pytest

RBR = [sys.executable, "-c", "from orchestration.cli.main import main; main()"]


@pytest.fixture
def project(rules_folder):
    root = rules_folder.parent
    (root / "params.yaml").write_text("profile: smoke\n")
    (root / "profiles").mkdir()
    (root / "profiles" / "smoke.yaml").write_text("seed: 0\n")
    return root


def refused(project, *arguments, **environment):
    found = subprocess.run(
        [*RBR, "serve", "--port", "0", *arguments],
        cwd=project,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert found.returncode == 1
    [line] = [line for line in found.stderr.splitlines() if line]
    return line


def test_missing_artifacts_are_named_one_after_the_other(project):
    for folder in ("models/base_model", "models/grader", "data/fitted_weights"):
        line = refused(project)
        assert line.startswith(f"error: {project / folder}")
        assert "make demo" in line
        (project / folder).mkdir(parents=True)
        (project / folder / "metrics.json").write_text("{}")
    assert "helpful_reward_model" in refused(project)


def test_a_blank_token_is_refused(project):
    assert "RBR_SERVE_TOKEN is set and blank" in refused(project, RBR_SERVE_TOKEN=" ")


def test_an_address_that_is_none_is_named(project):
    assert "192.0.2.1" in refused(project, "--host", "192.0.2.1")


# The command with a reward that needs no artifacts; all else is as in earnest.
SCRIPT = """
import sys, time
import numpy as np
import orchestration.cli.serve as command
from rbr.rules import load_rules

class Half:
    rules = load_rules(__import__("pathlib").Path("rules"))
    def components(self, conversations, texts, kinds):
        time.sleep(0.3)
        return np.full(len(texts), 0.5), np.zeros(len(texts)), np.zeros((len(texts), 1))

command.load_reward = lambda context: Half()
from orchestration.cli.main import main
main()
"""


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_served_process_answers_and_stops_on_sigterm(project, host, warned):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "serve", "--host", host, "--port", "0"],
        cwd=project,
        env={k: v for k, v in os.environ.items() if k != "RBR_SERVE_TOKEN"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith(f"serving on http://{host}:")
        url = line.split()[2].replace("0.0.0.0", "127.0.0.1")
        transport = httpx.HTTPTransport(retries=10)
        body = {"items": [{"prompt": "q", "completion": "c"}]}
        with httpx.Client(transport=transport, timeout=30) as client:
            answer = client.post(f"{url}/reward", json=body)
        assert answer.json()["rewards"][0]["reward"] == 0.5
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Finished server process" in errors
    assert ("warning: whoever reaches 0.0.0.0 may ask" in errors) is warned
    assert "Traceback" not in errors
