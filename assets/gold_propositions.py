"""Gold rows: completions that people labelled, split into train and held-out."""

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
from rbr.data.gold import check_gold, gold_rows
from rbr.files import write_rows


@artifact(
    folder="data",
    group="data",
    inputs=("rules",),
    sources=("data/source/gold",),
    rules=("names", "response_types", "roles"),
    settings=("gold",),
)
def gold_propositions(context: Context, output: Path) -> Mapping[str, float]:
    """Completions labelled with all propositions, split into train and held-out."""
    rules, options = compiled_rules(context), context.settings.gold
    folder = context.source / "gold"
    check_gold(folder, rules)
    train, heldout = gold_rows(
        folder, options.limit, options.heldout_fraction, context.settings.seed
    )
    write_rows(output / "train.jsonl", train)
    write_rows(output / "heldout.jsonl", heldout)
    support: dict[str, float] = {}
    for name in rules.proposition_names:
        support[f"train_support.{name}"] = sum(name in row.true for row in train)
        support[f"heldout_support.{name}"] = sum(name in row.true for row in heldout)
    return {"train_rows": len(train), "heldout_rows": len(heldout), **support}


@gold_propositions.gate
def expectations(context: Context) -> list[Part]:
    gates = context.settings.gates
    rules = compiled_rules(context)
    rows = split_files(context.folder, ("train", "heldout"))
    rows["text"] = conversation_text(rows) + "\n" + rows["completion"]
    found = metrics(context).iloc[0]
    names = rules.proposition_names
    support = pd.DataFrame(
        {
            "proposition": names,
            "train": [found[f"train_support.{name}"] for name in names],
            "heldout": [found[f"heldout_support.{name}"] for name in names],
        }
    ).sort_values("train", ignore_index=True)
    rare, common = support[: gates.gold_rare_count], support[gates.gold_rare_count :]

    def supported(train: int) -> list[Expectation]:
        return [
            between("train", train, None, "positives in train"),
            between("heldout", gates.gold_heldout_support, None, "positives in held-out"),
        ]

    return [
        Part(
            "size",
            pd.DataFrame({"rows": [len(rows)]}),
            [between("rows", gates.gold_rows_min, None, "gold rows")],
        ),
        no_empty_split(rows, ("train", "heldout")),
        Part(
            "rows",
            rows[["id", "response_type", "completion", "split", "text"]],
            [
                *present("id", "completion"),
                *unique("id", "text"),
                one_of("response_type", rules.response_types),
            ],
        ),
        Part("support", common, supported(gates.gold_train_support)),
        Part("support of the rarest", rare, supported(gates.gold_rare_train_support)),
    ]
