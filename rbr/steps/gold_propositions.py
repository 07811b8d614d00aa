"""Gold rows: checked against the rules and each other, and split into train and held-out."""

from __future__ import annotations

import difflib

from rbr.data.gold import inconsistency, split_gold
from rbr.data.rows import Labelled
from rbr.errors import DataError, Place
from rbr.files import iter_json_lines, read_folder, write_json, write_rows
from rbr.steps.context import Context


def by_split(context: Context) -> tuple[list[Labelled], list[Labelled]]:
    """The written rows as the artifact holds them: train and held-out."""
    settings = context.settings.gold
    rows = read_folder(context.source / "gold", Labelled)
    if settings.limit:
        rows = rows[:: max(1, len(rows) // settings.limit)]
    return split_gold(rows, settings.heldout_fraction, context.settings.seed)


def run(context: Context) -> dict[str, float]:
    rules = context.rules
    folder = context.source / "gold"
    train, heldout = by_split(context)
    known = set(rules.proposition_names)
    for path in sorted(folder.glob("*.jsonl")):
        for line, value in iter_json_lines(path):
            place = Place(path, line)
            for name in value["true"]:
                if name not in known:
                    close = difflib.get_close_matches(name, known, 1)
                    hint = f"did you mean '{close[0]}'?" if close else "see rules/propositions"
                    raise DataError(f"true: no proposition '{name}'; {hint}", place)
            if value["response_type"] not in rules.response_types:
                allowed = ", ".join(rules.response_types)
                raise DataError(
                    f"response_type '{value['response_type']}' is not one of {allowed}", place
                )
            problem = inconsistency(value["true"])
            if problem:
                raise DataError(f"true: {problem}", place)
    metrics: dict[str, float] = {"train_rows": len(train), "heldout_rows": len(heldout)}
    for name in rules.proposition_names:
        metrics[f"train_support.{name}"] = sum(name in row.true for row in train)
        metrics[f"heldout_support.{name}"] = sum(name in row.true for row in heldout)
    with context.output("gold_propositions") as target:
        write_rows(target / "train.jsonl", train)
        write_rows(target / "heldout.jsonl", heldout)
        write_json(target / "metrics.json", metrics)
    return metrics
