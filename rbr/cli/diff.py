"""Rules of two revisions: what differs in meaning, and which steps read it."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rbr.errors import RBRError
from rbr.files import read_json
from rbr.rules import Rules, load_rules
from rbr.settings import VARIANTS
from rbr.steps import STEPS


@dataclass(frozen=True)
class Changes:
    """Attributes:
    lines: one a changed part.
    propositions: those whose grades are made again.
    stale: steps that are made again, in the graph's order.
    completions: completions graded by the last run.
    """

    lines: list[str]
    propositions: list[str]
    stale: list[str]
    completions: int


def rules_at(root: Path, rev: str) -> Rules:
    """The rules of a git revision.

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
        return load_rules(Path(folder) / "rules")


def stale_steps(sections: set[str]) -> list[str]:
    """Steps that read one of the sections, and all after them; the variants where not all are."""
    stale: set[tuple[str, str | None]] = set()
    told = []
    for name, step in STEPS.items():
        reached: list[str] = []
        for variant in VARIANTS if step.variants else (None,):
            read = [variant] if variant else VARIANTS
            needs = [need for need in step.needs_of(variant) if need != "rules"]
            inputs = {(need, own) for need in needs for own in (None, *read)}
            if sections & set(step.rules_of(variant)) or inputs & stale:
                stale.add((name, variant))
                reached.append(variant or name)
        partly = step.variants and 0 < len(reached) < len(VARIANTS)
        if reached:
            told.append(f"{name} ({', '.join(reached)})" if partly else name)
    return told


def compare(root: Path, rev: str) -> Changes:
    """Compare the working tree's rules with those of ``rev``."""
    now, before = load_rules(root / "rules"), rules_at(root, rev)
    lines: list[str] = []
    new, old = now.hashes(), before.hashes()
    for name in sorted(set(new) | set(old)):
        if new.get(name) != old.get(name):
            verb = "changed" if name in new and name in old else "new" if name in new else "gone"
            lines.append(f"{verb:<8} {name}")
    # A section is compared as its file is written, since that is what DVC hashes.
    sections = {
        name
        for name, value in now.sections().items()
        if json.dumps(value, sort_keys=True) != json.dumps(before.sections()[name], sort_keys=True)
    }
    texts, former = now.grading_texts(), before.grading_texts()
    graded = 0
    for artifact in ("synthetic_comparisons", "gold_propositions"):
        path = root / "data" / artifact / "metrics.json"
        if path.exists():
            values = read_json(path)
            graded += int(sum(v for k, v in values.items() if k.endswith("_rows")))
    # Other composed completions fit another grader, and a grade is kept under its grader.
    refitted = "completions" in sections
    return Changes(
        lines,
        sorted(name for name in texts if refitted or texts[name] != former.get(name)),
        ["rules", *stale_steps(sections)] if sections else [],
        graded,
    )
