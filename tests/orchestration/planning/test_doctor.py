"""Which profiles a machine can run, why not, and what to change."""

import json
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli.main import app
from orchestration.planning import machine as machines
from orchestration.planning.doctor import common_needs, needs_of, profiles_of
from orchestration.planning.machine import LIBRARIES, Accelerator, Machine, answers, this_machine

ROOT = Path(__file__).parents[3]
INSTALLED = dict.fromkeys(LIBRARIES, "1.0")
PLAIN = Machine(cores=8, memory=64e9, disk=2e12, versions={**INSTALLED, "vllm": None})
H100 = Accelerator("NVIDIA H100", 80e9)
ONE_GPU = replace(PLAIN, accelerators=(H100,), driver="570.1", versions=INSTALLED)


def unmet(profile, machine, root=ROOT):
    return {need.what: need for need in needs_of(root, profile, machine) if not need.met}


def test_without_a_gpu_gpu1_cannot_run_and_says_why():
    found = unmet("gpu1", PLAIN)
    assert set(found) == {"devices", "memory of a training device", "vLLM"}
    assert found["devices"].wanted == "1 GPU"
    assert found["devices"].found == "none, and no NVIDIA driver"
    assert "laptop" in found["devices"].change
    assert found["memory of a training device"].found == "0 bytes"
    assert "pip install" in found["vLLM"].change


def test_with_a_gpu_of_80_gb_it_can():
    assert unmet("gpu1", ONE_GPU) == {}


def test_what_does_not_fit_names_what_to_lower():
    smaller = replace(ONE_GPU, accelerators=(Accelerator("NVIDIA A100", 40e9),))
    need = unmet("gpu1", smaller)["memory of a training device"]
    assert need.found == "40.0 GB"
    assert need.change == "most is generation: vLLM's share (28.0 GB): lower rl.vllm_memory, or set rl.vllm_sleep"  # fmt: skip
    assert (
        "lower launch.processes"
        in unmet("gpu1", replace(ONE_GPU, memory=8e9))["host memory"].change
    )
    assert "variants" in unmet("gpu1", replace(ONE_GPU, disk=1e9))["free disk"].change


def test_eight_devices_are_not_one():
    found = unmet("gpu8", ONE_GPU)
    assert (found["devices"].wanted, found["devices"].found) == ("8 GPUs", "1: NVIDIA H100")


def test_a_gpu_that_torch_cannot_use_is_told_from_none():
    need = unmet("gpu1", replace(PLAIN, driver="570.1", unused=("NVIDIA H100",)))["devices"]
    assert need.found == "none that torch can use; the driver shows 1: NVIDIA H100"
    assert "install its CUDA build" in need.change


def test_a_server_that_does_not_answer_is_named(tmp_path):
    copy_project(tmp_path)
    path = tmp_path / "profiles" / "gpu8.yaml"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        text = path.read_text().replace("http://127.0.0.1:8000/v1", address)
        path.write_text(text)
        assert answers(address)
        assert "grader.address" not in unmet("gpu8", ONE_GPU, tmp_path)
    assert unmet("gpu8", ONE_GPU, tmp_path)["grader.address"].found == "nothing listens there"


@pytest.mark.parametrize("profile", ["laptop", "smoke"])
def test_profiles_of_the_cpu_need_no_gpu(profile):
    assert unmet(profile, PLAIN) == {}
    assert unmet(profile, replace(PLAIN, memory=1e8))


def copy_project(folder):
    for name in ("rules", "profiles", "deploy"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copytree(ROOT / "data" / "source", folder / "data" / "source")
    (folder / "params.yaml").write_text("profile: laptop\n")


def test_a_profile_that_cannot_be_read_stops_no_other(tmp_path):
    copy_project(tmp_path)
    (tmp_path / "profiles" / "mine.yaml").write_text("sft: {epochs: none}\n")
    assert profiles_of(tmp_path) == ["gpu1", "gpu8", "laptop", "mine", "smoke"]
    assert "sft.epochs" in unmet("mine", PLAIN, tmp_path)["settings"].found
    assert unmet("smoke", PLAIN, tmp_path) == {}


def test_what_is_missing_of_every_profile_is_told():
    broken = replace(PLAIN, git=False, dvc=False, versions={**INSTALLED, "mlflow": None})
    assert {need.what for need in common_needs(broken) if not need.met} == {"git", "DVC", "mlflow"}


def test_this_machine_is_as_it_is(monkeypatch, tmp_path):
    found = this_machine(ROOT)
    assert found.cores >= 1
    assert found.memory > 1e9
    assert found.versions["torch"]
    limit = tmp_path / "memory.max"
    limit.write_text("1000000\n")
    monkeypatch.setattr(machines, "CGROUP", limit)
    assert this_machine(ROOT).memory == 1e6


def test_the_command_says_which_profiles_can_run(monkeypatch):
    monkeypatch.setattr(machines, "this_machine", lambda root: PLAIN)
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()
    every = runner.invoke(app, ["doctor", "--root", str(ROOT)])
    assert every.exit_code == 0
    assert "gpu1: cannot run here" in every.stdout
    assert "smoke: can run here" in every.stdout
    one = runner.invoke(app, ["doctor", "--root", str(ROOT), "--profile", "gpu1", "--json"])
    assert one.exit_code == 1
    rows = json.loads(one.stdout)["profiles"]["gpu1"]
    assert {"devices", "vLLM"} <= {row["what"] for row in rows if not row["met"]}
