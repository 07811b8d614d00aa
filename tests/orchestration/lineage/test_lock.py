"""DVC's lock and what a kill in mid-write leaves of its files, on a real repository."""

import subprocess
import sys

import pytest
from dvc.repo import Repo

from orchestration.lineage.lock import backup_dvc_lock, hold_dvc_lock, repair_dvc_lock

HOLD = """
import sys
from dvc.repo import Repo, lock_repo
with lock_repo(Repo(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
WHOLE = "schema: '2.0'\nstages:\n  a:\n    cmd: echo\n"


@pytest.fixture
def repo(tmp_path):
    Repo.init(str(tmp_path), no_scm=True).close()
    with Repo(str(tmp_path)) as own:
        yield own


def test_it_waits_for_another_process_and_names_it(repo, tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "held\n"
    messages = []

    def log(text):
        messages.append(text)
        other.communicate()  # it lets go only when it was waited for

    with hold_dvc_lock(repo, tmp_path, log):
        assert repo.lock.is_locked
    assert messages == [f"waiting for DVC's lock, held by process {other.pid}"]
    assert not repo.lock.is_locked


def test_dvc_works_while_the_lock_is_held_and_it_is_free_after_an_error(repo, tmp_path):
    (tmp_path / "data.txt").write_text("x")
    with pytest.raises(KeyError), hold_dvc_lock(repo, tmp_path, print):
        repo.add([str(tmp_path / "data.txt")])  # takes the lock itself
        raise KeyError
    assert not repo.lock.is_locked
    assert (tmp_path / "data.txt.dvc").exists()


@pytest.mark.parametrize("torn", ["", WHOLE[:25], "stages: [", "\x00\x00"])
def test_a_torn_dvc_lock_is_replaced_by_its_backup(repo, tmp_path, torn):
    lock = tmp_path / "dvc.lock"
    lock.write_text(WHOLE)
    backup_dvc_lock(tmp_path)
    lock.write_text(torn)
    repair_dvc_lock(repo)
    assert lock.read_text() == WHOLE


def test_a_whole_dvc_lock_and_one_without_a_backup_are_left_alone(repo, tmp_path):
    lock = tmp_path / "dvc.lock"
    lock.write_text("torn: [")
    repair_dvc_lock(repo)
    assert lock.read_text() == "torn: ["
    lock.write_text(WHOLE)
    backup_dvc_lock(tmp_path)
    lock.write_text(WHOLE.replace("echo", "other"))
    repair_dvc_lock(repo)
    assert "other" in lock.read_text()


@pytest.mark.parametrize("torn", ["", '{"write": {"/data": {"pid": 1', "\x00\x00"])
def test_a_torn_rwlock_is_removed_and_dvc_runs_again(repo, tmp_path, monkeypatch, torn):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages:\n  a:\n    cmd: echo x > a\n    outs: [a]\n")
    rwlock = tmp_path / ".dvc" / "tmp" / "rwlock"
    rwlock.write_text(torn)
    with hold_dvc_lock(repo, tmp_path, print):
        repair_dvc_lock(repo)
    assert not rwlock.exists()
    assert len(repo.reproduce()) == 1


def test_an_rwlock_in_use_is_left_alone(repo, tmp_path):
    rwlock = tmp_path / ".dvc" / "tmp" / "rwlock"
    content = '{"read": {}, "write": {"/data": {"pid": 1, "cmd": "dvc repro"}}}'
    rwlock.write_text(content)
    repair_dvc_lock(repo)
    assert rwlock.read_text() == content
