"""Where the workspace is, and that nothing of it is taken from where the code lies."""

import ast

import pytest

from orchestration.lineage.tracking import artifacts_location
from orchestration.links import server_settings
from orchestration.root import find_root
from rbr.errors import RBRError


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.delenv("RBR_ROOT", raising=False)
    folder = tmp_path / "w"
    (folder / "rules").mkdir(parents=True)
    (folder / "params.yaml").touch()
    monkeypatch.chdir(folder / "rules")
    return folder


def test_it_is_the_nearest_folder_above(workspace):
    assert find_root() == workspace


def test_the_environment_names_another_and_an_option_comes_first(workspace, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "params.yaml").touch()
    monkeypatch.setenv("RBR_ROOT", str(other))
    assert find_root() == other
    assert find_root(workspace) == workspace


@pytest.mark.parametrize("by", ["option", "environment", "folder"])
def test_a_folder_that_is_none_is_one_line(workspace, tmp_path, monkeypatch, by):
    if by == "environment":
        monkeypatch.setenv("RBR_ROOT", str(workspace / "rules"))
    if by == "folder":
        monkeypatch.chdir(tmp_path)
    with pytest.raises(RBRError, match=r"no params\.yaml here.*rbr init"):
        find_root(workspace / "rules" if by == "option" else None)


def test_the_tracking_server_has_defaults_that_a_file_changes(workspace):
    assert server_settings(workspace)["port"] == 5000
    assert artifacts_location(workspace) == (workspace / "mlflow" / "artifacts").as_uri()
    (workspace / "mlflow").mkdir()
    (workspace / "mlflow" / "server.yaml").write_text("port: 5001\nartifacts: s3://b/c\n")
    assert server_settings(workspace)["port"] == 5001
    assert server_settings(workspace)["host"] == "127.0.0.1"
    assert artifacts_location(workspace) == "s3://b/c"


def test_only_packaged_files_are_found_by_where_the_code_lies(root):
    """``__file__`` leads to a workspace in a checkout alone."""
    uses = {
        path.relative_to(root).as_posix()
        for package in ("rbr", "pipeline", "assets", "orchestration")
        for path in (root / package).rglob("*.py")
        if any(
            isinstance(node, ast.Name) and node.id == "__file__"
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    assert uses == {
        "orchestration/lineage/compare.py",  # its page
        "orchestration/production/supervision.py",  # supervisord's settings
        "orchestration/project/create.py",  # the new project's files
        "orchestration/project/examples.py",  # the examples; of a checkout those at its root
        "pipeline/launch.py",  # the import path of launched processes
    }
