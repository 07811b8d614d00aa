"""Rules of two revisions: what differs in meaning, and which steps read it."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rbr.errors import RBRError
from orchestration.impact import changed_sections, new_grades, reached_stages
from rbr.rules import Rules, load_rules
from pipeline.profile import VARIANTS
from rbr.steps import Context


@dataclass(frozen=True)
class Changes:
    """Attributes:
    lines: one a changed part; none where only comments or layout differ.
    propositions: those that are worded otherwise.
    stale: stages that are made again, as DVC names them, in the graph's order.
    grades: how many grades are asked for anew.
    """

    lines: list[str]
    propositions: list[str]
    stale: list[str]
    grades: int


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def rules_at(root: Path, rev: str) -> tuple[Rules, dict[str, bytes]]:
    """The rules of a git revision, and their files as they were.

    Raises:
        RBRError: if git does not know the revision, or it has no rules.
    """
    found = subprocess.run(
        ["git", "archive", "--format=tar", rev, "rules"], cwd=root, capture_output=True, check=False
    )
    if found.returncode:
        reason = found.stderr.decode(errors="replace").strip().splitlines()
        raise RBRError(
            f"no rules at revision '{rev}': {reason[-1] if reason else 'git failed'}", root
        )
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
            archive.extractall(folder, filter="data")
        rules = Path(folder) / "rules"
        return load_rules(rules), _files(rules)


def compare(context: Context, rev: str) -> Changes:
    """Compare the working tree's rules with those of ``rev``.

    Raises:
        RBRError: if either cannot be loaded, or the prompts do not fit the policy.
    """
    folder = context.root / "rules"
    now, (before, files) = load_rules(folder), rules_at(context.root, rev)
    lines: list[str] = []
    new, old = now.hashes(), before.hashes()
    for name in sorted(set(new) | set(old)):
        if new.get(name) != old.get(name):
            verb = "changed" if name in new and name in old else "new" if name in new else "gone"
            lines.append(f"{verb:<8} {name}")
    reached = reached_stages(changed_sections(before, now, context.settings.grader.engine))
    texts, former = now.grading_texts(), before.grading_texts()
    return Changes(
        lines,
        sorted(name for name in texts if texts[name] != former.get(name)),
        # Compiled whenever a file differs, be it in a comment.
        (["rules"] if _files(folder) != files else [])
        + [f"{name}@{variant}" if variant else name for name, variant in reached],
        new_grades(context, before, now, reached) if reached else 0,
    )


def by_step(stages: Iterable[str]) -> list[str]:
    """``name``, or ``name (variants)`` where not all of its variants are among the stages."""
    variants: dict[str, list[str]] = {}
    for stage in stages:
        name, _, variant = stage.partition("@")
        variants.setdefault(name, []).append(variant)
    return [
        f"{name} ({', '.join(own)})" if own[0] and len(own) < len(VARIANTS) else name
        for name, own in variants.items()
    ]
