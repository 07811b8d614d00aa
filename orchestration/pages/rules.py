"""What the rule page shows: each proposition with its uses, weights, accuracy and worst grades."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orchestration.cli.show import uses
from orchestration.impact import affected_artifacts
from pipeline import rows
from pipeline.context import Context
from rbr.data.rows import Labelled
from rbr.files import iter_json_lines, read_json
from rbr.grading.store import GradeStore, grade_keys, judged_text
from rbr.rules.compiled import write_compiled
from rbr.rules.models import Proposition
from rbr.rules.rules import Rules

WORST = 3
FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # dvc.lock has a thousand lines


@dataclass(frozen=True)
class WrongGrade:
    """A held-out gold row and the probability that the grader gave a proposition."""

    row: Labelled
    label: bool
    probability: float


@dataclass(frozen=True)
class PropositionRow:
    """A proposition as the page shows it; what is not made yet is None or empty.

    Attributes:
        weights: of the response types that have it as a feature.
        accuracy: its row of the grader's accuracy on held-out gold.
        worst: held-out rows on which the grader is furthest from the label, where it is on the wrong side.
    """

    name: str
    rule: Proposition
    uses: list[str]
    weights: Mapping[str, float]
    accuracy: Mapping[str, Any] | None
    worst: Sequence[WrongGrade]


def proposition_rows(
    rules: Rules,
    weights: Mapping[str, Mapping[str, float]],
    measured: Mapping[str, Mapping[str, Any]],
    worst: Mapping[str, Sequence[WrongGrade]],
) -> list[PropositionRow]:
    """The propositions, each with what the other functions here found of it."""
    return [
        PropositionRow(
            name,
            rule,
            # The weights' columns show of which response types it is a feature.
            [use for use in uses(rules, name) if not use.startswith("feature of")],
            {kind: values[name] for kind, values in weights.items() if name in values},
            measured.get(name),
            worst.get(name, []),
        )
        for name, rule in rules.propositions.items()
    ]


def fitted_weights(context: Context) -> dict[str, dict[str, float]]:
    """Response type -> feature -> weight; empty before the first fit."""
    path = context.path("fitted_weights") / "weights.json"
    return dict(read_json(path)["weights"]) if path.is_file() else {}


def accuracy(context: Context) -> dict[str, dict[str, Any]]:
    """Proposition (and ``mean``) -> its row of the accuracy table; empty before it is measured."""
    path = context.path("grader_accuracy") / "per_proposition.jsonl"
    if not path.is_file():
        return {}
    return {row["proposition"]: row for _, row in iter_json_lines(path)}


def worst_grades(context: Context, rules: Rules) -> dict[str, list[WrongGrade]]:
    """The worst grades of each proposition on held-out gold, from the grade store; no model is loaded."""
    judged = context.path("graded_comparisons") / "judged_by.json"
    gold = context.path("gold_propositions") / "heldout.jsonl"
    store_path = context.root / ".cache" / "grades.sqlite"
    if not (judged.is_file() and gold.is_file() and store_path.is_file()):
        return {}
    graders = {name: str(by["grader"]) for name, by in read_json(judged).items()}
    heldout, texts = rows.gold(context, "heldout"), rules.grading_texts()
    names = [name for name in texts if name in graders]
    by = [judged_text(texts[name], graders[name]) for name in names]
    keys = [grade_keys(by, row.conversation, row.completion) for row in heldout]
    store = GradeStore(store_path)
    try:
        grades = store.get([key for own in keys for key in own])
    finally:
        store.close()
    found: dict[str, list[WrongGrade]] = {name: [] for name in names}
    for row, own in zip(heldout, keys, strict=True):
        for name, key in zip(names, own, strict=True):
            wrong = WrongGrade(row, name in row.true, grades.get(key, float(name in row.true)))
            if (wrong.probability >= 0.5) != wrong.label:
                found[name].append(wrong)
    return {
        name: sorted(some, key=lambda w: -abs(w.probability - w.label))[:WORST]
        for name, some in found.items()
    }


def stale(context: Context, rules: Rules) -> list[str]:
    """Artifacts that were made from other rules than the written ones, and what rests on them.

    ``dvc.lock`` has the hash of each section that an artifact was made from.
    """
    stages = locked(context.root)
    with tempfile.TemporaryDirectory() as folder:
        write_compiled(Path(folder), rules, context.settings.grader.engine)
        now = {
            path.stem: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            for path in Path(folder).iterdir()
        }
    changed = {
        Path(dep["path"]).stem
        for stage in stages.values()
        for dep in stage.get("deps", [])
        if dep["path"].startswith("data/rules/")
        and dep.get("md5") != now.get(Path(dep["path"]).stem)
    }
    return affected_artifacts(context.graph, changed)


def locked(root: Path) -> dict[str, Any]:
    """The stages of ``dvc.lock``; none before the first run."""
    path = root / "dvc.lock"
    return dict(yaml.load(path.read_text(), FAST).get("stages", {})) if path.is_file() else {}


def locked_version(root: Path, stage: str) -> str | None:
    """The data version of an artifact in ``dvc.lock``."""
    return next((str(out["md5"]) for out in locked(root).get(stage, {}).get("outs", [])), None)
