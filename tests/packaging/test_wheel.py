"""The wheel alone, outside any checkout: the transcript of docs/own_policy.md, and a project of each example."""

from __future__ import annotations

import doctest
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from orchestration.code_digests import code_digests
from orchestration.project.examples import EXAMPLES, OWN, PAPER, SHARED, example_names

pytestmark = pytest.mark.smoke_graph
CODE = ("rbr", "pipeline", "assets", "orchestration")
BUILD = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md")


def run(command, cwd, environment, status=0):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout[-4000:] + done.stderr[-4000:]
    return done


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    """Built in a copy of what is written, so that the checkout stays as it is."""
    source = tmp_path_factory.mktemp("source")
    for pattern in (*CODE, *BUILD, *SHARED, *OWN, EXAMPLES):
        for path in root.glob(pattern):
            target = source / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, target)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    run([*command, "--wheel-dir", source / "made", source], source, os.environ)
    [made] = (source / "made").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The environment of a fresh venv that has the wheel, and sees what this one has installed.

    A path line takes the packages of this environment's folder, and none of the hooks that its own .pth
    files set: the finder of an editable install, which leads to the checkout, is one of them.
    """
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "base.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONPATH", "MLFLOW_TRACKING_URI", "DAGSTER_HOME", "RBR_ROOT")
    }
    environment |= {
        f"GIT_{role}_{part}": "somebody"
        for role in ("AUTHOR", "COMMITTER")
        for part in ("NAME", "EMAIL")
    }
    environment["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    # A checkout on PYTHONPATH would count as installed already.
    run([*pip, wheel], folder, environment)
    return environment


@dataclass(frozen=True)
class Transcript:
    """What the commands of a document printed, and what it says that they print."""

    folder: Path
    commands: list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def transcript(root, installed, tmp_path_factory):
    """The transcript of docs/own_policy.md, in which a project is made and the whole graph runs."""
    folder, commands = tmp_path_factory.mktemp("elsewhere"), []
    text = (root / "docs" / "own_policy.md").read_text()
    for kind, path, body in re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", text, re.M | re.S):
        if kind != "console":
            (folder / path).write_text(body)
            continue
        for command, said in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", body, re.M):
            if command.startswith("cd "):
                folder /= command.removeprefix("cd ")
                continue
            done = subprocess.run(
                command, shell=True, cwd=folder, env=installed, capture_output=True, text=True,
                timeout=1800, check=False,
            )  # fmt: skip
            commands.append((command, said, done.stdout + done.stderr))
    return Transcript(folder, commands)


@pytest.fixture(scope="module")
def project(transcript):
    return transcript.folder


def test_the_document_says_what_its_commands_print(transcript):
    same = doctest.OutputChecker().check_output
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert len(transcript.commands) == 13
    wrong = [
        f"$ {command}\n{printed}"
        for command, said, printed in transcript.commands
        if not same(said, printed, options)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_read_from_the_checkout(root, project, installed):
    code = "import assets, orchestration, pipeline, rbr; print(*(m.__path__[0] for m in (assets, orchestration, pipeline, rbr)))"
    paths = run(["python", "-c", code], project, installed).stdout.split()
    assert len(paths) == 4
    assert not any(Path(path).is_relative_to(root) for path in paths)


def test_the_wheel_has_every_example_and_its_rules_check(installed, tmp_path):
    for name in example_names():
        folder = tmp_path / name
        run(["rbr", "init", folder, "--example", name], tmp_path, installed)
        if name == PAPER:
            assert "model_release" in run(["rbr", "plan"], folder, installed).stdout
        status = int(not (folder / "data/source/gold").is_dir())
        found = run(["make", "check"], folder, installed, status and 2)
        if status:
            lines = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
            assert [line.partition("`")[2].partition("`")[0] for line in lines] == [
                "rbr data template prompts", "rbr data template gold",
            ]  # fmt: skip
        else:
            assert "fine" in found.stdout


def test_the_demo_makes_the_table_and_a_second_one_computes_nothing(transcript, installed):
    project = transcript.folder
    [first] = [printed for command, _, printed in transcript.commands if command == "make demo"]
    assert "RBR PPO" in first
    again = run(["make", "demo"], project, installed).stdout
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert again.count("unchanged: restored") == len(stages) - 1


def test_the_code_that_was_installed_has_the_digests_of_the_checkouts(project):
    found = {path.name: path.read_text().strip() for path in (project / "data/code").iterdir()}
    assert found == code_digests()


def test_dvc_runs_the_stages_by_the_installed_package(project, installed):
    # DVC does not see an installed package: the digests' stage always runs, and here changes nothing.
    status = run(["python", "-m", "dvc", "status", "--json"], project, installed)
    assert json.loads(status.stdout) == {"code": ["always changed"]}
    done = run(["python", "-m", "dvc", "repro"], project, installed)
    assert done.stdout.count("Running stage") == 1
    (project / "data/code/rules").write_text("another\n")
    reproduced = run(["python", "-m", "dvc", "repro", "rules"], project, installed)
    assert "Running stage 'code'" in reproduced.stdout
    shutil.rmtree(project / "data" / "rules")
    (project / "rules" / "reward.yaml").open("a").write("# a comment\n")
    made = run(["python", "-m", "dvc", "repro", "rules"], project, installed)
    assert "Running stage 'rules'" in made.stdout
    assert (project / "data" / "rules" / "names.json").is_file()


def test_dagster_loads_the_workspace_that_it_runs_in(project, installed):
    listed = run(
        ["python", "-m", "dagster", "asset", "list", "-m", "orchestration.definitions"],
        project, installed,
    ).stdout  # fmt: skip
    assert "rbr/ppo_checkpoint" in listed.split()
