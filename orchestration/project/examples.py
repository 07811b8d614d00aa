"""The example projects that `rbr init` copies.

The repository's root is the example `paper`; each folder of ``examples/`` is another, which holds what
differs from it. A wheel has copies of all of them beside this module: ``setup.py`` runs ``pack`` as it is
built, before anything else is installed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

PAPER, EXAMPLES = "paper", "examples"
# What each project has, unless its example has a file of its own there.
SHARED = (
    "params.yaml",
    "profiles",
    "deploy/plans",
    "mlflow/server.yaml",
    ".gitignore",
    ".dvcignore",
    ".dvc/.gitignore",
    ".dvc/config",
    "data/source/*.jsonl",
)
# What an example has of its own.
OWN = ("rules", "data/source/safety_prompts", "data/source/gold")
PACKED = Path(__file__).with_name("packed")


def home() -> Path:
    """Where the examples are: in the installed package, or at the root of a checkout."""
    return PACKED if PACKED.is_dir() else Path(__file__).resolve().parents[2]


def example_names() -> list[str]:
    """The examples that there are."""
    return [PAPER, *sorted(path.parent.name for path in (home() / EXAMPLES).glob("*/rules"))]


def copy_example(name: str, target: Path) -> None:
    """Copy an example's files to ``target``."""
    _copy(home(), SHARED, target)
    if name == PAPER:
        _copy(home(), OWN, target)
    else:
        shutil.copytree(home() / EXAMPLES / name, target, dirs_exist_ok=True)


def pack(root: Path, target: Path) -> None:
    """Copy the examples of a checkout, in the same layout."""
    shutil.rmtree(target, ignore_errors=True)
    _copy(root, (*SHARED, *OWN, EXAMPLES), target)


def _copy(source: Path, patterns: tuple[str, ...], target: Path) -> None:
    for pattern in patterns:
        for path in sorted(source.glob(pattern)):
            to = target / path.relative_to(source)
            if path.is_dir():
                shutil.copytree(path, to, dirs_exist_ok=True)
            else:
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)
