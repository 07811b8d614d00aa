"""What each artifact must be before the next step may read it: frames and their expectations.

One function an artifact, named as it is. Thresholds are the profile's section ``gates``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import great_expectations.expectations as gxe
import numpy as np
import pandas as pd

from orchestration.gates import frames
from rbr.files import read_json
from rbr.rules.check import check_rules
from rbr.steps import Context

Expectation = Any


@dataclass(frozen=True)
class Part:
    """A frame and what is expected of it."""

    name: str
    frame: pd.DataFrame
    expectations: list[Expectation]


def between(column: str, low: float | None, high: float | None, why: str) -> Expectation:
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, notes=why
    )


def present(*columns: str) -> list[Expectation]:
    return [gxe.ExpectColumnValuesToNotBeNull(column=column) for column in columns]


def unique(*columns: str) -> list[Expectation]:
    return [gxe.ExpectColumnValuesToBeUnique(column=column) for column in columns]


def one_of(column: str, values: Any, why: str = "") -> Expectation:
    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(values), notes=why)


def no_leak(frame: pd.DataFrame) -> Part:
    """No family of prompts is in two splits."""
    why = "a family in two splits would leak what was trained on into the evaluation"
    return Part("families", frames.leaks(frame), [between("splits", 1, 1, why)])


def rules(context: Context) -> list[Part]:
    problems = check_rules(context.root / "rules")
    report = pd.DataFrame(
        {"problems": [len(problems)], "first": [str(problems[0]) if problems else ""]}
    )
    written = context.rules.propositions.values()
    propositions = pd.DataFrame(
        {
            "id": [p.id for p in written],
            "question": [p.question for p in written],
            "examples_true": [len(p.examples.positive) for p in written],
            "examples_false": [len(p.examples.negative) for p in written],
        }
    )
    return [
        Part(
            "check",
            report,
            [between("problems", 0, 0, "names resolve, classes are exclusive and exhaustive")],
        ),
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


def safety_prompts(context: Context) -> list[Part]:
    gates = context.settings.gates
    rows = frames.split_files(context.path("safety_prompts"))
    rows["text"] = frames.conversation_text(rows)
    summary = pd.DataFrame(
        {
            "families": [rows["family"].nunique()],
            "prompts": [len(rows)],
            "comply_share": [(rows["response_type"] == "comply").mean()],
        }
    )
    return [
        Part(
            "prompts",
            rows[["id", "family", "category", "response_type", "split", "text"]],
            [
                *present("id", "family", "category", "response_type"),
                *unique("id", "text"),
                one_of("response_type", context.rules.response_types),
                one_of("split", frames.SPLITS),
            ],
        ),
        no_leak(rows),
        Part(
            "balance",
            summary,
            [
                between("families", gates.family_min, None, "families of prompts"),
                between("prompts", gates.prompts_min, None, "prompts"),
                between("comply_share", gates.comply_share_min, 0.9, "over-refusal must show"),
            ],
        ),
    ]


def gold_propositions(context: Context) -> list[Part]:
    gates = context.settings.gates
    folder = context.path("gold_propositions")
    rows = pd.concat(
        [frames.json_lines(folder / f"{s}.jsonl", split=s) for s in ("train", "heldout")],
        ignore_index=True,
    )
    rows["text"] = frames.conversation_text(rows) + "\n" + rows["completion"]
    found = frames.metrics(context, "gold_propositions").iloc[0]
    names = context.rules.proposition_names
    support = pd.DataFrame(
        {
            "proposition": names,
            "train": [found[f"train_support.{name}"] for name in names],
            "heldout": [found[f"heldout_support.{name}"] for name in names],
        }
    ).sort_values("train", ignore_index=True)
    rare, common = support[: gates.gold_rare_count], support[gates.gold_rare_count :]

    def held() -> Expectation:
        return between("heldout", gates.gold_heldout_support, None, "positives in held-out")

    return [
        Part(
            "rows",
            rows[["id", "response_type", "completion", "split", "text"]],
            [
                *present("id", "completion"),
                *unique("id", "text"),
                one_of("response_type", context.rules.response_types),
            ],
        ),
        Part(
            "support",
            common,
            [between("train", gates.gold_train_support, None, "positives in train"), held()],
        ),
        Part(
            "support of the rarest",
            rare,
            [between("train", gates.gold_rare_train_support, None, "positives in train"), held()],
        ),
    ]


def _pairs(context: Context, artifact: str) -> tuple[pd.DataFrame, list[Part]]:
    rows = frames.split_files(context.path(artifact), ("train", "validation"))
    rows["same"] = rows["chosen"] == rows["rejected"]
    rows["longer_chosen"] = (
        (rows["chosen"].str.len() > rows["rejected"].str.len()).astype(float).mean()
    )
    expectations = [
        *present("chosen", "rejected"),
        *unique("id"),
        one_of("same", [False], "a pair has two different completions"),
        between("longer_chosen", 0.15, 0.9, "share of pairs whose longer answer is preferred"),
    ]
    columns = ["id", "family", "split", "chosen", "rejected", "same", "longer_chosen", "simulated"]
    return rows, [Part("pairs", rows[columns], expectations), no_leak(rows)]


def helpful_preferences(context: Context) -> list[Part]:
    return _pairs(context, "helpful_preferences")[1]


def human_preferences(context: Context) -> list[Part]:
    _, (pairs, leak) = _pairs(context, "human_preferences")
    labelled = one_of("simulated", [True], "no human labelled these: they must say so")
    return [Part(pairs.name, pairs.frame, [*pairs.expectations, labelled]), leak]


def grader_accuracy(context: Context) -> list[Part]:
    gates = context.settings.gates
    table = frames.json_lines(context.path("grader_accuracy") / "per_proposition.jsonl")
    mean = table[table["proposition"] == "mean"].reset_index(drop=True)
    table = table[table["proposition"] != "mean"].reset_index(drop=True)
    return [
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
    rows = pd.concat([pd.read_parquet(folder / f"{s}.parquet") for s in frames.SPLITS])
    parts = []
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
    gates = context.settings.gates
    report = read_json(context.path("fitted_weights") / "report.json")
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


def sft_checkpoint(context: Context) -> list[Part]:
    row = frames.metrics(context, "sft_checkpoint")
    row["ratio"] = row["loss_last"] / row["loss_first"]
    limit = context.settings.gates.sft_loss_ratio_max
    return [Part("training", row, [between("ratio", 0, limit, "the loss fell")])]


def ppo_checkpoint(context: Context) -> list[Part]:
    gates = context.settings.gates
    row = frames.metrics(context, "ppo_checkpoint")
    row["gain"] = row["reward_last"] - row["reward_first"]
    row["length_ratio"] = row["length_last"] / row["length_first"]
    return [
        Part(
            "training",
            row,
            [
                between("gain", gates.ppo_gain_min, None, "the reward rose"),
                between("kl_last", None, gates.ppo_kl_max, "KL to the SFT model, nats"),
                between("length_ratio", gates.ppo_length_ratio_min, None, "length: no collapse"),
                between("distinct_last", gates.ppo_distinct_min, 1, "repetition: no collapse"),
            ],
        )
    ]


def judge(context: Context) -> list[Part]:
    gates = context.settings.gates
    floor = gates.judge_accuracy_min
    return [
        Part(
            "held-out gold",
            frames.metrics(context, "judge"),
            [
                between("refusal_accuracy", floor, 1, "refusals are told from answers"),
                between("disallowed_accuracy", floor, 1, "disallowed content is seen"),
            ],
        )
    ]


def _shares(context: Context, artifact: str) -> Part:
    row = frames.metrics(context, artifact)
    return Part("shares", row, [between(column, 0, 1, "a share") for column in row.columns])


def baseline_eval(context: Context) -> list[Part]:
    return [_shares(context, "baseline_eval")]


def safety_eval(context: Context) -> list[Part]:
    return [_shares(context, "safety_eval")]


def predecessor(context: Context, f1_star: float) -> Part:
    """The policy against the profile's champion, whose F1* is given."""
    row = frames.metrics(context, "safety_eval")
    row["drop"] = f1_star - row["ppo.f1_star"]
    limit = context.settings.gates.f1_drop_max
    return Part("predecessor", row, [between("drop", None, limit, "F1* below the champion's")])


def capability_eval(context: Context) -> list[Part]:
    margin = context.settings.gates.capability_loss_margin
    why = "held-out loss above the SFT model's, nats a token"
    row = frames.metrics(context, "capability_eval")
    return [Part("capability", row, [between("loss_rise", None, margin, why)])]


def model_release(context: Context) -> list[Part]:
    rows = pd.DataFrame(read_json(context.path("model_release") / "comparison.json")["rows"])
    shown = pd.DataFrame({"model": rows["model"], "f1_star": [v[0] for v in rows["f1_star"]]})
    return [
        Part(
            "comparison",
            shown,
            [*unique("model"), *present("f1_star"), between("f1_star", 0, 1, "F1*")],
        )
    ]


SUITES: dict[str, Callable[[Context], list[Part]]] = {
    function.__name__: function
    for function in (
        rules,
        safety_prompts,
        gold_propositions,
        helpful_preferences,
        human_preferences,
        grader_accuracy,
        synthetic_comparisons,
        helpful_reward_model,
        human_reward_model,
        graded_comparisons,
        fitted_weights,
        sft_checkpoint,
        ppo_checkpoint,
        judge,
        baseline_eval,
        safety_eval,
        capability_eval,
        model_release,
    )
}
