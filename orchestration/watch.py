"""Looking at ``rules/`` again and again: what do they mean, and have they been left alone for a while?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rbr.errors import RBRError
from rbr.files import read_json
from rbr.rules.check import check_rules
from rbr.rules.rules import load_rules


@dataclass(frozen=True)
class Watched:
    """What one look found.

    Attributes:
        cursor: given to the next look.
        hashes: data version of each rule, and of all under ``digest``; None while the files change.
        reason: why there are none.
    """

    cursor: str
    hashes: dict[str, str] | None
    reason: str = ""


def watch(folder: Path, cursor: str | None, now: float, quiet: float) -> Watched:
    """Look at the rules; they count once their files have been the same for ``quiet`` seconds.

    So an editor that saves several files, and a file that is half written, are waited for.

    Args:
        cursor: of the look before.
        now: seconds since the epoch.

    Raises:
        RBRError: the first problem of rules that are left alone and cannot be used.
    """
    found = fingerprint(folder)
    former, _, since = (cursor or "").partition("@")
    # A clock that was set back counts as a change.
    if found != former or not since or now < float(since):
        return Watched(f"{found}@{now}", None, f"rules/ changed: waiting for {quiet:g} s of quiet")
    if now - float(since) < quiet:
        return Watched(
            f"{found}@{since}", None, f"rules/ changed: waiting for {quiet:g} s of quiet"
        )
    hashes = _checked(folder, found)
    if isinstance(hashes, RBRError):
        raise hashes
    if fingerprint(folder) != found:
        return Watched("", None, "rules/ changed while they were read")
    return Watched(f"{found}@{since}", hashes)


def fingerprint(folder: Path) -> str:
    """Digest of all files' names and bytes; another one for each state that an editor leaves."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.yaml")):
        try:
            content = path.read_bytes()
        except OSError:
            content = b"gone"  # removed or renamed between the listing and the reading
        digest.update(f"{path.relative_to(folder)}\x00{len(content)}\x00".encode() + content)
    return digest.hexdigest()[:32]


def made_rules(root: Path) -> dict[str, str]:
    """The hashes of the rules that the artifact ``rules`` holds; empty before the first run."""
    path = root / "data" / "rules" / "hashes.json"
    return dict(read_json(path)) if path.exists() else {}


@lru_cache(maxsize=1)
def _checked(folder: Path, found: str) -> dict[str, str] | RBRError:
    """Hashes or the first problem, read and checked once for each state of the files."""
    errors = check_rules(folder)
    if errors:
        return errors[0]
    rules = load_rules(folder)
    return {**rules.hashes(), "digest": rules.digest}
