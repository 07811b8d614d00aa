"""Turns at what the processes of one root share: a database that the first makes, a file that all rewrite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


@contextmanager
def turn(root: Path, name: str) -> Iterator[None]:
    """Wait until no other process of the root is in a block of that name; a killed one leaves it at once."""
    folder = root / ".cache" / "turns"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / name):
        yield
