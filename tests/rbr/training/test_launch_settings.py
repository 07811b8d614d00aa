"""The accelerate settings under deploy/ are ones that accelerate takes."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from pipeline.profile import Launch
from pipeline.launch import command

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "deploy" / "accelerate").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_reads_it(path):
    found = load_config_from_file(str(path))
    assert found.num_processes == 8
    assert found.mixed_precision == "bf16"
    assert found.distributed_type.value in ("FSDP", "DEEPSPEED")


def parsed(launch, tmp_path):
    words = command(launch, tmp_path / "job.json")
    return launch_command_parser().parse_args(words[3:])


def test_the_launch_names_the_settings_file_and_the_processes(tmp_path):
    path = str(FILES[0])
    found = parsed(Launch(processes=4, config_file=path), tmp_path)
    assert found.config_file == path
    assert found.num_processes == 4
    assert found.training_script == "rbr.training.worker"
    assert found.module


def test_without_one_a_few_processes_share_the_cores(tmp_path):
    found, *_ = _validate_launch_command(parsed(Launch(processes=2), tmp_path))
    assert found.num_processes == 2
    assert found.multi_gpu
