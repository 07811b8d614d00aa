"""Rules of two revisions: what differs in meaning, and which artifacts read it."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.impact import affected_artifacts, changed_sections, new_grades
from rbr.errors import RBRError, RuleError
from rbr.rules.differences import differences
from rbr.rules.models import OPTIONAL, SECTIONS
from rbr.rules.rules import Rules, load_rules

if TYPE_CHECKING:
    from pipeline.context import Context


HEADS = (
    "the grader's fitted heads know a proposition by its gold rows and read no wording: a rewording changes no"
    " grade until gold rows change (data/source/gold)"
)


@dataclass(frozen=True)
class Changes:
    """What an edit of the rules changes.

    Attributes:
        lines: one for each changed part; none where only comments or layout differ.
        propositions: those whose wording differs.
        stale: keys of the artifacts that are made again, inputs first.
        grades: how many grades the grade store lacks.
        note: what the grader in use makes of the changes, where that is a surprise.
    """

    lines: list[str]
    propositions: list[str]
    stale: list[str]
    grades: int
    note: str


def rules_at(root: Path, rev: str) -> tuple[Rules, dict[str, bytes]]:
    """The rules of a git revision, and the content of their files.

    Raises:
        RBRError: if git does not know the revision, or it has no rules that can be read today.
    """
    command = ["git", "archive", "--format=tar", rev, "rules"]
    try:
        found = subprocess.run(command, cwd=root, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise RBRError(f"no rules at revision '{rev}': install git", root) from error
    if found.returncode:
        reason = (found.stderr.decode(errors="replace").strip() or "git failed").splitlines()[-1]
        raise RBRError(f"no rules at revision '{rev}': {reason}", root)
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
            archive.extractall(folder, filter="data")
        rules = Path(folder) / "rules"
        missing = [f"{name}.yaml" for name in SECTIONS if not (rules / f"{name}.yaml").is_file()]
        missing = [name for name in missing if name.removesuffix(".yaml") not in OPTIONAL]
        if missing:
            raise RBRError(
                f"the rules at revision '{rev}' lack {', '.join(missing)}: they are of an older form and"
                " cannot be compared; name a later revision",
                root / "rules",
            )
        try:
            return load_rules(rules), _files(rules)
        except RuleError as error:
            # The file was unpacked to a folder that is gone by now.
            text = str(error).replace(f"{Path(folder)}/", "")
            raise RBRError(f"the rules at revision '{rev}' cannot be read: {text}", root) from error


def _files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def compare(context: Context, rev: str) -> Changes:
    """Compare the working tree's rules with those of ``rev``.

    Raises:
        RBRError: if either cannot be loaded, or the prompts do not fit the policy.
    """
    folder = context.root / "rules"
    now, (before, files) = load_rules(folder), rules_at(context.root, rev)
    found = differences(before, now)
    engine = context.settings.grader.engine
    chat = context.settings.comparisons.chat is not None
    judge = context.settings.judge.engine
    sections = changed_sections(before, now, engine, judge, chat)
    affected = affected_artifacts(context.graph, sections)
    texts, former = now.grading_texts(), before.grading_texts()
    reworded = any(str(difference).startswith("reworded propositions/") for difference in found)
    return Changes(
        [str(difference) for difference in found],
        sorted(name for name in texts if texts[name] != former.get(name)),
        # Compiled whenever a file differs, even if only in a comment.
        (["rules"] if _files(folder) != files else []) + affected,
        new_grades(context, before, now, affected),
        HEADS if engine == "head" and reworded else "",
    )
