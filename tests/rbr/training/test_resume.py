"""A training that is killed again and again: its curve is that of an unbroken one."""

import os
import random
import shutil
import signal
import subprocess
import sys

import pytest

from rbr.models.trainer import last_checkpoint
from tests.rbr.training import scripted, toy

KILLS = int(os.environ.get("RBR_PPO_KILLS", "3"))
UPDATES = 24


@pytest.fixture
def tiny(tmp_path):
    return toy.made(tmp_path / "model")


def start(tiny, folder, *options):
    """A process of its own, whose end is the training's."""
    if not folder.exists():
        shutil.copytree(tiny, folder / "tiny")
    words = ["-m", "tests.rbr.training.scripted", str(folder), str(UPDATES), "--sampled", *options]
    return subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=(folder / "output.log").open("ab"),
        stderr=subprocess.STDOUT,
    )


def finish(tiny, folder):
    """The whole log."""
    status = start(tiny, folder).wait(timeout=600)
    assert status == 0, (folder / "output.log").read_text()[-3000:]
    return scripted.history(folder)


def test_a_training_killed_at_random_steps_ends_as_the_unbroken_one(tiny, tmp_path):
    """Completions are sampled, so that the random states count."""
    expected = finish(tiny, tmp_path / "whole")
    assert len(expected) == UPDATES // 2
    folder = tmp_path / "broken"
    for step in sorted(random.Random(KILLS).sample(range(1, UPDATES), KILLS)):
        killed = start(tiny, folder, "--killed", str(step))
        assert killed.wait(timeout=600) == -signal.SIGKILL
        assert bool(last_checkpoint(folder / "run")) == (step > 2)
    assert finish(tiny, folder) == expected
