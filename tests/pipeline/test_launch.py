"""Trainings in processes of their own: results, errors, logs, and none that outlives its pipeline."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from pipeline.launch import _command, launch
from pipeline.profile import Launch
from rbr.errors import DataError, TrainingError
from rbr.models.trainer import last_checkpoint
from tests.pipeline import calls
from tests.rbr.training import scripted, toy

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "deploy" / "accelerate").glob("*.yaml"))


@pytest.mark.parametrize("processes", [None, 1, 2])
def test_the_result_and_the_log_lines_of_the_main_process_are_passed_on(tmp_path, processes):
    lines = []
    call = partial(calls.add, 2, right=0.5)
    found = launch(call, Launch(processes=processes), 1, tmp_path, lines.append)
    assert found == {"sum": 2.5, "processes": processes or 1}
    # In this process whoever runs the artifact's body receives them.
    assert lines == (["adding 2 and 0.5"] if processes else [])


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_that_a_person_can_mend_comes_back_in_one_line(tmp_path, processes):
    with pytest.raises(TrainingError) as raised:
        launch(calls.refuse, Launch(processes=processes), 1, tmp_path, print)
    assert str(raised.value) == "p.yaml: no prompt is short enough: raise rl.max_prompt_tokens"


def test_in_this_process_it_is_the_error_itself(tmp_path):
    with pytest.raises(DataError, match="no prompt is short enough"):
        launch(calls.refuse, Launch(processes=None), None, tmp_path, print)


@pytest.mark.parametrize("processes", [1, 2])
def test_any_other_error_is_told_in_the_trainings_own_words(tmp_path, processes):
    with pytest.raises(TrainingError, match="ended with status 1; the same command") as raised:
        launch(calls.break_down, Launch(processes=processes), 1, tmp_path, print)
    assert str(raised.value).endswith("checkpoint. It died of ZeroDivisionError: by nothing")
    assert str(raised.value).startswith(str(tmp_path / "output.log"))
    kept = (tmp_path / "output.log").read_text()
    assert "half of the work is done" in kept
    assert "in break_down" in kept  # where it died


@pytest.mark.parametrize("processes", [1, 2])
def test_of_a_killed_training_its_own_output_is_shown_and_not_the_launchers(tmp_path, processes):
    with pytest.raises(TrainingError, match=r"was killed by SIGKILL \(the machine's") as raised:
        launch(calls.be_killed, Launch(processes=processes), 1, tmp_path, print)
    assert "half of the work is done" in str(raised.value)
    assert "Traceback" not in str(raised.value)
    assert "elastic" not in str(raised.value)
    assert "Traceback" in (tmp_path / "output.log").read_text()


@pytest.fixture
def pipeline(tmp_path):
    """A process that launched a training of two processes, and all of these."""
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.pipeline.calls", str(tmp_path)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: len(list(tmp_path.glob("*.training"))) == 2)
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) >= 3  # the launcher, and two trainings
    yield parent, children
    for process in children:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    parent.kill()
    parent.wait()


def wait_for(holds):
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_training_outlives_the_pipeline(pipeline, sent):
    parent, children = pipeline
    os.kill(parent.pid, sent)
    assert parent.wait(60) != 0
    assert psutil.wait_procs(children, timeout=60)[1] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_reads_the_shipped_configurations(path):
    found = load_config_from_file(str(path))
    assert found.num_processes == 8
    assert found.mixed_precision == "bf16"
    assert found.distributed_type.value in ("FSDP", "DEEPSPEED")


def parsed(options):
    words = _command(options, Path("call.pickle"), Path("result.json"))
    return launch_command_parser().parse_args(words[3:])


def test_the_launch_names_the_configuration_and_the_processes():
    path = str(FILES[0])
    found = parsed(Launch(processes=4, config_file=path))
    assert found.config_file == path
    assert found.num_processes == 4
    assert found.training_script == "pipeline.launch"
    assert found.module
    assert found.training_script_args == ["call.pickle", "result.json"]


def test_without_one_a_few_processes_share_the_cores():
    found, *_ = _validate_launch_command(parsed(Launch(processes=2)))
    assert found.num_processes == 2
    assert found.multi_gpu


# TRL's means over processes weigh each process alike, however many tokens it has.
UNWEIGHTED = ("entropy", "clip_ratio", "completions/m", "completions/clipped")
UPDATES = 24


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return toy.made(tmp_path_factory.mktemp("processes"))


def folder_of(tiny, folder):
    folder.mkdir(exist_ok=True)
    shutil.copytree(tiny, folder / "tiny")
    return folder


def ppo(folder, processes, killed=None):
    """A PPO training's log, by update."""
    call = partial(scripted.main, folder, UPDATES, sampled=False, killed=killed)
    launch(call, Launch(processes=processes), 1, folder, print)
    return scripted.history(folder)


def assert_same(found, expected, tolerance=1e-4):
    assert found.keys() == expected.keys()
    for step, row in expected.items():
        assert weighted(found[step]) == pytest.approx(
            weighted(row), abs=tolerance, rel=tolerance, nan_ok=True
        ), step


def weighted(row):
    return {name: value for name, value in row.items() if not name.startswith(UNWEIGHTED)}


@pytest.fixture(scope="module")
def alone(tiny, tmp_path_factory):
    """One process's log."""
    return ppo(folder_of(tiny, tmp_path_factory.mktemp("alone")), 1)


def test_two_processes_have_the_losses_of_one(tiny, alone, tmp_path):
    found = ppo(folder_of(tiny, tmp_path / "two"), 2)
    assert len(found) == UPDATES // 2
    assert any(abs(row["loss"]) > 1e-3 for row in found.values())
    assert all(row["grad_norm"] > 1e-2 for row in found.values())
    assert_same(found, alone)


def test_two_processes_that_are_killed_are_resumed_by_one(tiny, alone, tmp_path):
    folder = folder_of(tiny, tmp_path / "killed")
    with pytest.raises(TrainingError, match="resumes from the last checkpoint"):
        ppo(folder, 2, killed=13)
    assert last_checkpoint(folder / "run").endswith("checkpoint-12")
    assert_same(ppo(folder, 1), alone)
