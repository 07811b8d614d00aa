"""Fixtures that several tests share; what is made for a session is made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rbr.rules import Rules, load_rules

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def rules(root: Path) -> Rules:
    """The rules as they are shipped."""
    return load_rules(root / "rules")


@pytest.fixture
def rules_folder(root: Path, tmp_path: Path) -> Path:
    """A copy of the rules that a test may break."""
    return Path(shutil.copytree(root / "rules", tmp_path / "rules"))
