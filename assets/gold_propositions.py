"""Gold rows: completions that people labelled, split by what they are for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.gates import (
    Expectation,
    Part,
    between,
    conversation_text,
    metrics,
    no_empty_split,
    one_of,
    present,
    split_files,
    unique,
)
from rbr.data.gold import LEARNING, ROLES, check_gold, gold_rows
from rbr.data.planting import read_sentences, split_sentences
from rbr.files import write_rows


@artifact(
    folder="data",
    group="data",
    inputs=("rules",),
    sources=("data/source/gold",),
    rules=("names", "response_types", "roles"),
    settings=("gold",),
    kinds=("python", "dataset"),
)
def gold_propositions(context: Context, output: Path) -> Mapping[str, float]:
    """Completions labelled with all propositions: the grader's, the judge's, and held-out ones."""
    rules, options = compiled_rules(context), context.settings.gold
    folder = context.source / "gold"
    check_gold(folder, rules)
    found: dict[str, float] = {}
    for role, sentences in split_sentences(read_sentences(folder, rules), LEARNING).items():
        write_rows(output / f"{role}_sentences.jsonl", sentences)
    for role, gold in gold_rows(folder, options, context.settings.seed).items():
        write_rows(output / f"{role}.jsonl", gold)
        found[f"{role}_rows"] = len(gold)
        for name in rules.proposition_names:
            found[f"{role}_support.{name}"] = sum(name in row.true for row in gold)
    return found


@gold_propositions.gate
def expectations(context: Context) -> list[Part]:
    gates = context.settings.gates
    rules = compiled_rules(context)
    rows = split_files(context.folder, ROLES)
    rows["text"] = conversation_text(rows) + "\n" + rows["completion"]
    found = metrics(context).iloc[0]
    names = rules.proposition_names
    support = pd.DataFrame(
        {role: [found[f"{role}_support.{name}"] for name in names] for role in ROLES}
        | {"proposition": names}
    ).sort_values("grader", ignore_index=True)
    rare, common = support[: gates.gold_rare_count], support[gates.gold_rare_count :]

    def supported(least: int) -> list[Expectation]:
        return [between(role, least, None, f"positives in {role}") for role in ROLES]

    return [
        Part(
            "size",
            pd.DataFrame({"rows": [len(rows)]}),
            [between("rows", gates.gold_rows_min, None, "gold rows")],
        ),
        no_empty_split(rows, ROLES),
        Part(
            "rows",
            rows[["id", "response_type", "completion", "split", "text"]],
            [
                *present("id", "completion"),
                *unique("id", "text"),
                one_of("response_type", rules.response_types),
            ],
        ),
        Part("support", common, supported(gates.gold_support)),
        Part("support of the rarest", rare, supported(gates.gold_rare_support)),
    ]
