"""A workspace of its own: the project's files copied, on the smoke profile, with DVC and git."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestration.dvc_yaml import write as write_dvc_yaml

COPIED = (
    "rules", "rbr", "pipeline", "assets", "orchestration", "profiles", "ablations", "data/source", ".dvc/config"
)  # fmt: skip
FILES = (".dvcignore", ".gitignore", "production.yaml")


@dataclass(frozen=True)
class Workspace:
    """A root and how to run commands in it."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """The copied packages first on the path, and nothing of the caller's tracking."""
        own = {
            **os.environ,
            "PYTHONPATH": str(self.root),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DAGSTER_HOME": str(self.root / ".dagster"),
        }
        own.pop("MLFLOW_TRACKING_URI", None)
        return own

    def run(self, *arguments: str, timeout: int = 1200) -> subprocess.CompletedProcess[str]:
        """Run ``python ...`` in the root to its end."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str, group: bool = False) -> subprocess.Popen[bytes]:
        """Start ``python ...`` in the root, in a group of processes of its own as a terminal does it."""
        with (self.root / "started.out").open("wb") as out:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.root,
                env=self.environment,
                stdout=out,
                stderr=out,
                process_group=0 if group else None,
            )

    def demo(self) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "orchestration.demo")

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that must be there."""
        text = (self.root / path).read_text()
        assert old in text, f"{path} has no {old!r}"
        (self.root / path).write_text(text.replace(old, new, 1))


def make_workspace(source: Path, target: Path) -> Workspace:
    """Copy the project's written files; nothing that a run made."""
    for name in COPIED:
        if (source / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source / name, target / name, ignore=ignore)
        else:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, target / name)
    for name in FILES:
        shutil.copy(source / name, target / name)
    (target / "params.yaml").write_text("profile: smoke\n")
    write_dvc_yaml(target)
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "start"],
    ):
        subprocess.run(["git", *command], cwd=target, check=True)
    return Workspace(target)


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of a headless browser, patient enough for a busy machine."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        own = browser.new_page(viewport={"width": 1500, "height": 950})
        own.context.set_default_timeout(120_000)  # of the pages that it opens too
        yield own
        browser.close()


@pytest.fixture
def workspace(root: Path, tmp_path: Path) -> Workspace:
    """A fresh workspace."""
    return make_workspace(root, tmp_path / "project")


@pytest.fixture(scope="session")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which the whole graph ran through Dagster."""
    if os.environ.get("TMPBASE"):
        return Workspace(Path(os.environ["TMPBASE"]))
    own = make_workspace(root, tmp_path_factory.mktemp("graph") / "project")
    done = own.demo()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    (own.root / "demo.out").write_text(done.stdout)
    return own
