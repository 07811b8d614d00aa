"""DVC's lock: waited for with a message; and ``dvc.lock``, mended after a kill in mid-write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from dvc.repo import Repo

WAIT = 0.5
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@contextmanager
def held(repo: Repo, root: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the repository's lock; waits, however long, while another process holds it."""
    from dvc.lock import LockError

    told = False
    while True:
        try:
            repo.lock.lock()  # tries for three seconds
            break
        except LockError:
            if not told:
                say(f"waiting for DVC's lock, held by {_holder(root)}")
                told = True
    try:
        # DVC's own functions then find it held.
        repo._lock_depth += 1
        yield
    finally:
        repo._lock_depth -= 1
        repo.lock.unlock()


def _holder(root: Path) -> str:
    """The process that holds the lock, by its number; DVC writes it into the lock's file."""
    try:
        number = (root / ".dvc" / "tmp" / "lock").read_text().strip()
    except OSError:
        number = ""
    return f"process {number}" if number.isdigit() else "another process"


def _copy(root: Path) -> Path:
    return root / ".cache" / "dvc.lock.whole"


def keep(root: Path) -> None:
    """Keep a copy of ``dvc.lock``: DVC writes it in place, and a kill then leaves half of it."""
    lock, copy = root / "dvc.lock", _copy(root)
    if lock.exists():
        text = lock.read_bytes()
        if not copy.exists() or copy.read_bytes() != text:
            copy.parent.mkdir(parents=True, exist_ok=True)
            beside = copy.with_suffix(f".{os.getpid()}")
            beside.write_bytes(text)
            beside.replace(copy)


def mend(root: Path) -> None:
    """Put the copy in the place of a ``dvc.lock`` that is empty or no YAML.

    What was written since is found again in DVC's run cache. One that someone else broke by hand, with
    no copy there, is left for DVC to complain about.
    """
    lock, copy = root / "dvc.lock", _copy(root)
    if not lock.exists() or not copy.exists():
        return
    text = lock.read_bytes()
    try:
        if text and isinstance(yaml.load(text, Loader=_LOADER), dict):
            return
    except (yaml.YAMLError, UnicodeDecodeError):
        pass
    beside = lock.with_name(f".dvc.lock.{os.getpid()}")
    beside.write_bytes(copy.read_bytes())
    beside.replace(lock)
