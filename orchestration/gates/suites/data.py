"""Suites of the rules and of the data that people write."""

from __future__ import annotations

import pandas as pd

from orchestration.gates import frames
from orchestration.gates.suites.parts import (
    Expectation,
    Part,
    between,
    no_empty_split,
    no_leak,
    one_of,
    present,
    unique,
)
from rbr.rules.check import check_rules
from rbr.steps import Context


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
    comply = rows["response_type"] == "comply"
    summary = pd.DataFrame(
        {
            "families": [rows["family"].nunique()],
            "prompts": [len(rows)],
            "eval_prompts": [(rows["split"] == "eval").sum()],
            "comply_share": [comply.mean()],
            "lookalike_share": [rows.loc[comply, "form"].notna().mean()],
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
        no_empty_split(rows, frames.SPLITS),
        no_leak(rows),
        Part(
            "near duplicates",
            frames.repeated_across(rows),
            [between("pairs", 0, 0, "nearly the same prompt (word 3-grams) in two splits")],
        ),
        Part(
            "balance",
            summary,
            [
                between("families", gates.family_min, None, "families of prompts"),
                between("prompts", gates.prompts_min, None, "prompts"),
                between("eval_prompts", gates.eval_prompts_min, None, "held-out prompts"),
                between("comply_share", gates.comply_share_min, 0.9, "over-refusal must show"),
                between(
                    "lookalike_share",
                    gates.lookalike_share_min,
                    None,
                    "comply prompts that look unsafe",
                ),
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


def _pairs(context: Context, artifact: str) -> list[Part]:
    splits = ("train", "validation")
    rows = frames.split_files(context.path(artifact), splits)
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
    return [
        Part("pairs", rows[columns], expectations),
        no_empty_split(rows, splits),
        no_leak(rows),
    ]


def helpful_preferences(context: Context) -> list[Part]:
    return _pairs(context, "helpful_preferences")


def human_preferences(context: Context) -> list[Part]:
    pairs, *others = _pairs(context, "human_preferences")
    labelled = one_of("simulated", [True], "no human labelled these: they must say so")
    return [Part(pairs.name, pairs.frame, [*pairs.expectations, labelled]), *others]
