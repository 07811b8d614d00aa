"""Suites of the grader, the comparisons, the reward models and the weights."""

from __future__ import annotations

import great_expectations.expectations as gxe
import numpy as np
import pandas as pd

from orchestration.gates import frames
from orchestration.gates.suites.parts import (
    Part,
    between,
    no_empty_split,
    no_leak,
    one_of,
    present,
    unique,
)
from rbr.files import read_json
from rbr.steps import Context


def grader_accuracy(context: Context) -> list[Part]:
    gates = context.settings.gates
    table = frames.json_lines(context.path("grader_accuracy") / "per_proposition.jsonl")
    # A file without rows is a frame without columns.
    table = table.reindex(columns=["proposition", "accuracy"])
    mean = table[table["proposition"] == "mean"].reset_index(drop=True)
    table = table[table["proposition"] != "mean"].reset_index(drop=True)
    wanted = len(context.rules.proposition_names)
    sizes = pd.DataFrame({"propositions": [len(table)], "means": [len(mean)]})
    return [
        Part(
            "measured",
            sizes,
            [
                between("propositions", wanted, wanted, "each proposition is measured"),
                between("means", 1, 1, "and their mean"),
            ],
        ),
        Part(
            "propositions",
            table,
            [
                *unique("proposition"),
                between("accuracy", gates.grader_proposition_min, 1, "floor of each proposition"),
            ],
        ),
        Part(
            "mean", mean, [between("accuracy", gates.grader_accuracy_min, 1, "floor of the mean")]
        ),
    ]


def synthetic_comparisons(context: Context) -> list[Part]:
    gates = context.settings.gates
    rows = frames.split_files(context.path("synthetic_comparisons"))
    rows["characters"] = rows["completion"].str.len()
    wanted = {
        kind: {label for group in rule.ordering for label in group}
        for kind, rule in context.rules.reward.items()
    }
    kinds = rows.groupby("prompt_id")["response_type"].first()
    labels = rows.groupby("prompt_id")["label"].agg(set)
    missing = pd.DataFrame(
        {"prompt": kinds.index, "missing": [len(wanted[k] - labels[p]) for p, k in kinds.items()]}
    )
    confirmed = rows.groupby("label")["confirmed"].mean().rename("share").reset_index()
    total = pd.DataFrame({"confirmed": [rows["confirmed"].mean()]})
    return [
        Part(
            "completions",
            rows[["id", "prompt_id", "label", "completion", "characters", "split"]],
            [
                *present("completion", "label"),
                *unique("id"),
                between("characters", 1, 4000, "length limits"),
                gxe.ExpectCompoundColumnsToBeUnique(column_list=["prompt_id", "completion"]),
            ],
        ),
        Part("labels", missing, [between("missing", 0, 0, "each prompt has each label")]),
        Part(
            "confirmed by label",
            confirmed,
            [between("share", gates.comparison_label_min, 1, "confirmed by the grader")],
        ),
        Part(
            "confirmed",
            total,
            [between("confirmed", gates.comparison_confirmed_min, 1, "confirmed by the grader")],
        ),
        no_empty_split(rows, frames.SPLITS),
        no_leak(rows),
    ]


def _reward_model(context: Context, artifact: str) -> list[Part]:
    floor = context.settings.gates.reward_accuracy_min
    why = "accuracy on held-out pairs"
    return [
        Part(
            "metrics",
            frames.metrics(context, artifact),
            [between("heldout_accuracy", floor, 1, why)],
        )
    ]


def helpful_reward_model(context: Context) -> list[Part]:
    return _reward_model(context, "helpful_reward_model")


def human_reward_model(context: Context) -> list[Part]:
    return _reward_model(context, "human_reward_model")


def graded_comparisons(context: Context) -> list[Part]:
    folder = context.path("graded_comparisons")
    rows = pd.concat(
        [pd.read_parquet(folder / f"{s}.parquet").assign(split=s) for s in frames.SPLITS]
    )
    parts = [no_empty_split(rows, frames.SPLITS)]
    for kind, own in rows.groupby("response_type"):
        names = context.rules.feature_names(str(kind))
        why = "a feature is a probability"
        checks = [e for n in names for e in (*present(n), between(n, -1e-6, 1 + 1e-6, why))]
        finite = own.assign(finite=np.isfinite(own["reward_model"]))[[*names, "finite"]]
        parts.append(
            Part(str(kind), finite, [*checks, one_of("finite", [True], "R_rm is a number")])
        )
    return parts


def fitted_weights(context: Context) -> list[Part]:
    return _weights(context, "fitted_weights")


def human_fitted_weights(context: Context) -> list[Part]:
    return _weights(context, "human_fitted_weights")


def _weights(context: Context, artifact: str) -> list[Part]:
    gates = context.settings.gates
    report = read_json(context.path(artifact) / "report.json")
    rows = pd.DataFrame(
        [
            {
                "response_type": kind,
                "total": own["pair_error"]["total"],
                "above_reward_model": own["pair_error"]["total"]
                - own["pair_error"]["reward_model"],
                "sign_violations": len(own["sign_violations"]),
                "gap": own["relative_duality_gap"],
            }
            for kind, own in report.items()
        ]
    )
    return [
        Part(
            "response types",
            rows,
            [
                between("total", 0, gates.pair_error_max, "error on held-out pairs"),
                between("above_reward_model", None, gates.pair_error_rise_max, "than R_rm alone"),
                between("sign_violations", 0, 0, "signs as the rules say"),
                between("gap", None, 0.01, "the fit is at its minimum (relative duality gap)"),
            ],
        )
    ]
