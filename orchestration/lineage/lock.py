"""DVC's lock, waited for with a message; and its files, repaired after a kill in mid-write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from rbr.files import replacing

if TYPE_CHECKING:
    from dvc.repo import Repo

WAIT = 0.5
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@contextmanager
def hold_dvc_lock(repo: Repo, root: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Hold the repository's lock; waits, however long, while another process holds it."""
    from dvc.lock import LockError
    from dvc.repo import lock_repo

    announced = False
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(lock_repo(repo))  # tries for three seconds
                break
            except LockError:
                if not announced:
                    log(f"waiting for DVC's lock, held by {_holder(root)}")
                    announced = True
        yield


def _holder(root: Path) -> str:
    """The process that holds the lock; DVC writes its number into the lock's file."""
    try:
        number = (root / ".dvc" / "tmp" / "lock").read_text().strip()
    except OSError:
        number = ""
    return f"process {number}" if number.isdigit() else "another process"


def _backup(root: Path) -> Path:
    return root / ".cache" / "dvc.lock.whole"


def backup_dvc_lock(root: Path) -> None:
    """Keep a copy of ``dvc.lock``: DVC writes it in place, and a kill then leaves half of it."""
    lock, backup = root / "dvc.lock", _backup(root)
    if lock.exists():
        content = lock.read_bytes()
        if not backup.exists() or backup.read_bytes() != content:
            with replacing(backup) as beside:
                beside.write_bytes(content)


def repair_dvc_lock(repo: Repo) -> None:
    """Repair what a kill in mid-write left; call it with the lock held.

    A torn ``dvc.lock`` is replaced by its backup: what was recorded since is found again in DVC's run
    cache. Without a backup it is left for DVC to complain about. A torn ``rwlock``, which lists the
    files that running stages use, is removed.

    Raises:
        LockError: if another process edits ``rwlock`` for more than three seconds.
    """
    root = Path(repo.root_dir)
    lock, backup = root / "dvc.lock", _backup(root)
    if lock.exists() and backup.exists() and not _is_whole(lock.read_bytes()):
        with replacing(lock) as beside:
            beside.write_bytes(backup.read_bytes())
    _remove_torn_rwlock(repo)


def _is_whole(content: bytes) -> bool:
    """Whether it is a ``dvc.lock`` by DVC's own schema; cut off, it may well be YAML still."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.load(content, Loader=_LOADER))
    except (yaml.YAMLError, UnicodeDecodeError, Invalid):
        return False
    return True


def _remove_torn_rwlock(repo: Repo) -> None:
    from dvc.lock import make_lock
    from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK

    folder = Path(repo.tmp_dir)
    file = folder / RWLOCK_FILE
    with suppress(FileNotFoundError):
        if _is_json(file):
            return
        # Another process may be writing it just now: DVC guards each edit by this lock.
        guard = str(folder / RWLOCK_LOCK)
        hardlink = repo.config["core"].get("hardlink_lock", False)
        with make_lock(guard, tmp_dir=repo.tmp_dir, hardlink_lock=hardlink):
            if not _is_json(file):
                file.unlink()


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except ValueError:
        return False
    return True
