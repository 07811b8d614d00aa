"""Where a project may lie and run: odd paths, no git, an unwritable home, the C locale, another clock."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import sqlalchemy

from orchestration.cli.diff import rules_at
from orchestration.lineage.registry import tracking_address
from orchestration.stage import graph_run, started
from rbr.errors import RBRError
from tests.orchestration.conftest import Workspace, make_workspace

PROJECT = "ein Projekt ä☃ & 'mehr'"
# Make the first artifact through MLflow, its gate and DVC; what it prints last: was it restored?
MAKE = """
from pathlib import Path
from orchestration.materialize import Workspace, make, restore
workspace = Workspace.open(Path.cwd())
workspace.update_code()
artifact = workspace.artifact("rules")
made = restore(workspace, artifact) or make(workspace, artifact, "graph", print, commit=True)
assert made.gate.passed, made.gate
assert workspace.versions.uncommitted(["rules"]) == []
print(made.data_version, made.restored)
"""


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    return make_workspace(root, tmp_path_factory.mktemp("odd") / PROJECT)


def start(workspace, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", MAKE],
        cwd=workspace.root,
        env={**workspace.environment, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def made(process):
    """The data version, and whether it was restored."""
    out = process.communicate(timeout=600)[0].decode()
    assert process.returncode == 0, out[-4000:]
    version, restored = out.split()[-2:]
    return version, restored == "True"


def test_two_checkouts_at_once_under_odd_paths_in_the_c_locale_without_a_home(
    project, root, tmp_path_factory
):
    other = make_workspace(root, tmp_path_factory.mktemp("other") / PROJECT)
    # A home in which nobody can write, whoever runs the test.
    odd = {"LC_ALL": "C", "LANG": "C", "HOME": "/proc/nobody", "XDG_CACHE_HOME": "/proc/nobody"}
    first, second = start(project, **odd), start(other, **odd)
    found = made(first)
    assert found == made(second)
    assert found[1] is False
    assert made(start(project)) == (found[0], True)


def test_without_git_and_in_a_shallow_detached_clone(project, tmp_path):
    bare = Workspace(Path(shutil.copytree(project.root, tmp_path / "bare")))
    shutil.rmtree(bare.root / ".git")
    clone = tmp_path / "clone"
    source = f"file://{project.root}"
    subprocess.run(["git", "clone", "-q", "--depth", "1", source, str(clone)], check=True)
    subprocess.run(["git", "checkout", "-q", "--detach"], cwd=clone, check=True)
    processes = [start(bare), start(Workspace(clone))]
    for process in processes:
        made(process)
    with pytest.raises(RBRError, match=r"no rules at revision 'HEAD': .*not a git repository"):
        rules_at(bare.root, "HEAD")
    assert rules_at(clone, "HEAD")[0].proposition_names
    with pytest.raises(RBRError, match=r"no rules at revision 'HEAD~1'"):
        rules_at(clone, "HEAD~1")


def test_the_runs_of_a_folder_with_signs_of_addresses_lie_in_it(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "100%41 ready?"
    (root / "mlflow").mkdir(parents=True)
    sqlalchemy.create_engine(tracking_address(root)).connect().close()
    assert [path.name for path in (root / "mlflow").iterdir()] == ["mlflow.db"]
    assert [path.name for path in tmp_path.iterdir()] == [root.name]


def test_a_machine_without_git_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RBRError, match="no rules at revision 'HEAD': install git"):
        rules_at(tmp_path, "HEAD")


def test_one_dvc_repro_is_one_graph_run_though_the_clock_is_set(monkeypatch):
    monkeypatch.delenv("RBR_GRAPH_RUN", raising=False)
    parent = psutil.Process(os.getppid())
    monkeypatch.setattr(psutil.Process, "parents", lambda self: [parent])
    monkeypatch.setattr(psutil.Process, "cmdline", lambda self: ["python", "dvc", "repro"])
    names = set()
    for clock in (1_000_000.0, 996_400.0):
        monkeypatch.setattr(psutil.Process, "create_time", lambda self, clock=clock: clock)
        names.add(graph_run())
    assert len(names) == 1
    assert f"-{parent.pid}-" in names.pop()
    # Another process of the same number is another run.
    assert started(parent) != started(psutil.Process())
