"""Several processes, and processes that are killed: the curve is that of one unbroken run."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys

import pytest

from pipeline.profile import Launch
from rbr.models.trainer import last_checkpoint
from pipeline.launch import command
from tests.rbr.training.toy import made

KILLS = int(os.environ.get("RBR_PPO_KILLS", "5"))
TIMED = {"step_time", "tokens_per_second", "train_runtime", "epoch"}
# TRL's means over processes weigh each process alike, however many tokens it has.
UNWEIGHTED = ("entropy", "clip_ratio", "completions/m", "completions/clipped")
UPDATES = 24


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return made(tmp_path_factory.mktemp("processes"))


def folder_of(tiny, folder):
    folder.mkdir(exist_ok=True)
    shutil.copytree(tiny, folder / "tiny")
    return folder


def started(folder, processes, updates, *options):
    """The training's ``accelerate launch``, as the pipeline starts its own."""
    launch = command(Launch(processes=processes), folder)
    at = launch.index("rbr.training.worker")
    words = [*launch[:at], "tests.rbr.training.scripted", str(folder), str(updates), *options]
    return subprocess.Popen(
        words,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=(folder / "output.log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def ended(folder, process):
    status = process.wait(timeout=600)
    assert status == 0, (folder / "output.log").read_text()[-3000:]
    return history(folder)


def history(folder):
    """The log's figures by update; clock times left out."""
    rows = json.loads((folder / "history.json").read_text())
    return {
        row["step"]: {k: v for k, v in row.items() if k not in TIMED}
        for row in rows
        if "reward" in row
    }


def weighted(row):
    return {name: value for name, value in row.items() if not name.startswith(UNWEIGHTED)}


def assert_same(found, expected, tolerance=1e-4):
    assert found.keys() == expected.keys()
    for step, row in expected.items():
        assert weighted(found[step]) == pytest.approx(
            weighted(row), abs=tolerance, rel=tolerance, nan_ok=True
        ), step


@pytest.fixture(scope="module")
def alone(tiny, tmp_path_factory):
    """One process's log."""
    folder = folder_of(tiny, tmp_path_factory.mktemp("alone"))
    return ended(folder, started(folder, 1, UPDATES))


def test_two_processes_have_the_losses_of_one(tiny, alone, tmp_path):
    folder = folder_of(tiny, tmp_path / "two")
    found = ended(folder, started(folder, 2, UPDATES))
    assert len(found) == UPDATES // 2
    assert any(abs(row["loss"]) > 1e-3 for row in found.values())
    assert all(row["grad_norm"] > 1e-2 for row in found.values())
    assert_same(found, alone)


def test_two_processes_killed_are_gone_on_from_by_one(tiny, alone, tmp_path):
    folder = folder_of(tiny, tmp_path / "killed")
    killed = started(folder, 2, UPDATES, "--killed", "13")
    assert killed.wait(timeout=600) != 0
    assert last_checkpoint(folder / "run").endswith("checkpoint-12")
    assert_same(ended(folder, started(folder, 1, UPDATES)), alone)


def test_a_training_killed_at_random_steps_ends_as_the_unbroken_one(tiny, tmp_path):
    """Completions are sampled, so that the random states count."""
    whole = folder_of(tiny, tmp_path / "whole")
    expected = ended(whole, worker(whole, UPDATES))
    assert len(expected) == UPDATES // 2
    folder = folder_of(tiny, tmp_path / "broken")
    for step in sorted(random.Random(KILLS).sample(range(1, UPDATES), KILLS)):
        killed = worker(folder, UPDATES, "--killed", str(step))
        assert killed.wait(timeout=600) == -signal.SIGKILL
        assert bool(last_checkpoint(folder / "run")) == (step > 2)
    assert ended(folder, worker(folder, UPDATES)) == expected


def worker(folder, updates, *options):
    """One process without the launcher: its end is the training's."""
    words = ["-m", "tests.rbr.training.scripted", str(folder), str(updates), "--sampled", *options]
    return subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=(folder / "output.log").open("ab"),
        stderr=subprocess.STDOUT,
    )
