"""A new project: an example's files, ``dvc.yaml``, and a git and DVC repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from orchestration import dvc_yaml
from orchestration.project.examples import copy_example, example_names
from rbr.errors import RBRError
from rbr.files import replacing, write_json
from rbr.rules.schema import schemas
from rbr.rules.yaml import suggest

TEMPLATE = Path(__file__).with_name("template")
UNFINISHED = "project"
# Of the first commit alone, where git knows nobody.
NOBODY = ("-c", "user.name=rbr init", "-c", "user.email=rbr@localhost")


def create(folder: Path, example: str) -> bool:
    """Make a project whole or not at all; a folder that is there and empty is filled.

    Returns:
        Whether git has an identity, by which the first commit was made.

    Raises:
        RBRError: no example of that name, a folder that is not empty or cannot be written, no git.
    """
    names = example_names()
    if example not in names:
        raise RBRError(f"--example: no example '{example}'; {suggest(example, names)}")
    if not shutil.which("git"):
        raise RBRError("git is not installed: a project is a git repository")
    if not folder.exists():
        with replacing(folder) as partial:
            return _build(partial, example)
    # A killed call leaves its hidden folder, which the next one removes.
    if not folder.is_dir() or any(
        not path.name.startswith(f".{UNFINISHED}.") for path in folder.iterdir()
    ):
        raise RBRError("not an empty folder: name a new one", folder)
    # Filled, not replaced: it may be the current folder of a shell, or a mounted volume.
    with replacing(folder / UNFINISHED) as partial:
        known = _build(partial, example)
    # The file that makes it a project comes last.
    for path in sorted((folder / UNFINISHED).iterdir(), key=lambda p: p.name == "params.yaml"):
        path.rename(folder / path.name)
    (folder / UNFINISHED).rmdir()
    return known


def _build(folder: Path, example: str) -> bool:
    shutil.copytree(TEMPLATE, folder)
    copy_example(example, folder)
    for name, schema in schemas().items():
        write_json(folder / "rules" / ".schema" / name, schema)
    dvc_yaml.write(folder)
    _git(folder, "-c", "init.defaultBranch=main", "init", "-q")
    _git(folder, "add", "-A")
    known = _has_identity(folder)
    who = () if known else NOBODY
    message = f"Project from the example '{example}'"
    _git(folder, *who, "-c", "commit.gpgSign=false", "commit", "-q", "--no-verify", "-m", message)
    return known


def _has_identity(folder: Path) -> bool:
    return all(
        all(os.environ.get(f"GIT_{role}_{part.upper()}") for role in ("AUTHOR", "COMMITTER"))
        or _run(folder, "config", f"user.{part}").returncode == 0
        for part in ("name", "email")
    )


def _git(folder: Path, *arguments: str) -> None:
    done = _run(folder, *arguments)
    if done.returncode:
        reason = (done.stderr.strip() or "it failed").splitlines()[-1]
        raise RBRError(f"git {arguments[-1]}: {reason}")


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A repository that the caller's environment points to, as in a git hook, is not this one.
    own = {
        key: value
        for key, value in os.environ.items()
        if key not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")
    }
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=own, capture_output=True, text=True, check=False
    )
