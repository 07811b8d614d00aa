"""The written rules, checked and compiled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.gates import Part, between, present, unique
from rbr.rules.check import check_rules
from rbr.rules.compiled import write_compiled
from rbr.rules.rules import load_rules


@artifact(
    folder="data",
    group="policy",
    sources=("rules",),
    settings=("grader", "judge", "comparisons"),
    kinds=("yaml", "pydantic"),
)
def rules(context: Context, output: Path) -> Mapping[str, float]:
    """The written rules, compiled: one canonical file a section, so that a comment changes nothing."""
    errors = check_rules(context.root / "rules")
    if errors:
        raise errors[0]
    written = load_rules(context.root / "rules")
    settings = context.settings
    chat = settings.comparisons.chat is not None
    write_compiled(output, written, settings.grader.engine, settings.judge.engine, chat)
    return {
        "propositions": len(written.proposition_names),
        "response_types": len(written.response_types),
    }


@rules.gate
def expectations(context: Context) -> list[Part]:
    problems = check_rules(context.root / "rules")
    report = pd.DataFrame(
        {"problems": [len(problems)], "first": [str(problems[0]) if problems else ""]}
    )
    written = compiled_rules(context).propositions.values()
    propositions = pd.DataFrame(
        {
            "id": [p.id for p in written],
            "question": [p.question for p in written],
            "examples_true": [len(p.examples.positive) for p in written],
            "examples_false": [len(p.examples.negative) for p in written],
        }
    )
    why = "names resolve, classes are exclusive and exhaustive"
    return [
        Part("check", report, [between("problems", 0, 0, why)]),
        Part(
            "propositions",
            propositions,
            [
                *present("id", "question"),
                *unique("id", "question"),
                between("examples_true", 3, None, "few-shot examples of each side"),
                between("examples_false", 3, None, "few-shot examples of each side"),
            ],
        ),
    ]
