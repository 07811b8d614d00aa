"""``rbr init``: whole projects of every example, and one line where there can be none."""

import shutil
import subprocess

import pytest
import yaml
from typer.testing import CliRunner

from assets import graph
from orchestration.cli.main import app
from orchestration.dvc_yaml import require_current
from orchestration.project import create, examples
from pipeline.profile import read_settings
from rbr.errors import RBRError
from rbr.rules.check import check_rules
from rbr.rules.schema import schemas


@pytest.fixture(autouse=True)
def somebody(monkeypatch):
    """An identity of git that is not the machine's."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")


def git(folder, *arguments):
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def files(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", examples.example_names())
def test_each_example_is_a_project_that_checks_in_git_and_dvc(name, tmp_path):
    folder = tmp_path / name
    assert create.create(folder, name)
    assert check_rules(folder / "rules") == []
    settings = read_settings(folder)[1]
    for path in (folder / "profiles").glob("*.yaml"):
        read_settings(folder, path.stem)
    require_current(folder, graph(settings.variants))
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    # Its code is elsewhere: DVC has no folder of it to look at.
    assert stages["code"].get("deps") is None and stages["code"]["always_changed"]
    assert {path.name for path in (folder / "rules" / ".schema").iterdir()} == set(schemas())
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "log", "--format=%an") == "Ada"
    assert git(folder, "check-ignore", "data/rules/x", "models/x") == "data/rules/x\nmodels/x"
    done = subprocess.run(["make", "help"], cwd=folder, capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["help", "demo", "ui", "check"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_paper_s_example_is_the_repository_s_root(root, tmp_path):
    create.create(tmp_path / "p", "paper")
    for name in (*examples.OWN, "profiles", "params.yaml"):
        pairs = [(root / name, tmp_path / "p" / name)]
        if (root / name).is_dir():
            assert files(root / name) == files(tmp_path / "p" / name)
            pairs = [(root / name / f, tmp_path / "p" / name / f) for f in files(root / name)]
        assert all(one.read_bytes() == other.read_bytes() for one, other in pairs)


def test_an_example_has_the_shared_files_it_lacks_and_keeps_its_own(tmp_path, monkeypatch, root):
    home = tmp_path / "home"
    examples.pack(root, home)
    own = home / "examples" / "mine"
    shutil.copytree(home / "examples" / "blank", own)
    (own / "params.yaml").write_text("profile: smoke\n")
    monkeypatch.setattr(examples, "PACKED", home)
    assert "mine" in examples.example_names()
    create.create(tmp_path / "p", "mine")
    assert (tmp_path / "p" / "params.yaml").read_text() == "profile: smoke\n"
    assert (tmp_path / "p" / "data/source/helpful_preferences.jsonl").is_file()
    assert not (tmp_path / "p" / "data/source/gold").exists()


@pytest.mark.parametrize("there", ["file", "folder"])
def test_what_is_not_an_empty_folder_is_refused_and_left_alone(tmp_path, there):
    folder = tmp_path / "p"
    if there == "file":
        folder.write_text("mine")
    else:
        folder.mkdir()
        (folder / ".hidden").write_text("mine")
    before = files(tmp_path)
    found = CliRunner().invoke(app, ["init", str(folder)])
    assert isinstance(found.exception, RBRError)
    assert str(found.exception) == f"{folder}: not an empty folder: name a new one"
    assert files(tmp_path) == before


def test_an_empty_folder_is_filled_and_not_replaced(tmp_path):
    # It may be the current folder of a shell.
    number = tmp_path.stat().st_ino
    (tmp_path / ".project.999999999-0.partial").mkdir()  # of a killed call
    create.create(tmp_path, "blank")
    assert tmp_path.stat().st_ino == number
    assert {"params.yaml", "rules", ".git"} <= {path.name for path in tmp_path.iterdir()}
    assert not [
        path for path in tmp_path.iterdir() if path.name.startswith((".project", "project"))
    ]
    assert git(tmp_path, "status", "--porcelain") == ""


@pytest.mark.parametrize("exists", [True, False])
def test_what_fails_half_way_leaves_nothing(tmp_path, monkeypatch, exists):
    folder = tmp_path / "p"
    if exists:
        folder.mkdir()

    def full(root):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(create.dvc_yaml, "write", full)
    with pytest.raises(RBRError, match="No space left"):
        create.create(folder, "blank")
    assert [path.name for path in tmp_path.rglob("*")] == (["p"] if exists else [])


def test_an_unknown_example_is_one_line_with_those_that_there_are(tmp_path):
    with pytest.raises(RBRError, match="no example 'papers'; did you mean 'paper'"):
        create.create(tmp_path / "p", "papers")
    assert not list(tmp_path.iterdir())


def test_without_an_identity_the_first_commit_is_made_and_said_so(tmp_path, monkeypatch):
    for role in ("AUTHOR", "COMMITTER"):
        for part in ("NAME", "EMAIL"):
            monkeypatch.delenv(f"GIT_{role}_{part}")
    found = CliRunner().invoke(app, ["init", str(tmp_path / "p"), "--example", "blank"])
    assert found.exit_code == 0
    assert "git knows no user.name" in found.stdout
    assert git(tmp_path / "p", "log", "--format=%an") == "rbr init"


def test_a_repository_of_the_environment_is_left_alone(tmp_path, monkeypatch):
    # As in a git hook.
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    create.create(tmp_path / "p", "blank")
    assert not (tmp_path / "other").exists()
    assert (tmp_path / "p" / ".git").is_dir()


def test_blank_says_what_it_still_needs(tmp_path):
    create.create(tmp_path / "p", "blank")
    found = CliRunner().invoke(app, ["rules", "check", "--root", str(tmp_path / "p")])
    assert found.exit_code == 1
    lines = found.stderr.splitlines()
    assert [line.split(": ")[1].rpartition("/")[2] for line in lines] == ["safety_prompts", "gold"]
    assert ["template prompts" in lines[0], "template gold" in lines[1]] == [True, True]
