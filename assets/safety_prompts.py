"""Safety prompts with their response types, split by family."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.artifact import artifact
from pipeline.compiled_rules import compiled_rules
from pipeline.context import Context
from pipeline.gates import (
    SPLITS,
    Part,
    between,
    conversation_text,
    no_empty_split,
    no_leak,
    no_near_duplicates,
    one_of,
    present,
    split_files,
    unique,
)
from rbr.data.splits import policy_prompts
from rbr.files import write_rows

COLUMNS = ["id", "family", "category", "response_type", "split", "text"]


@artifact(
    folder="data",
    group="data",
    inputs=("rules",),
    sources=("data/source/safety_prompts",),
    rules=("response_types", "policy"),
    settings=("prompts", "attacks"),
    kinds=("python", "dataset"),
)
def safety_prompts(context: Context, output: Path) -> Mapping[str, float]:
    """Safety prompts with their response types, split by family."""
    splits = policy_prompts(
        context.source / "safety_prompts",
        compiled_rules(context),
        context.settings.prompts,
        context.settings.seed,
        context.settings.attacks.train_share,
    )
    for name, rows in splits.items():
        write_rows(output / f"{name}.jsonl", rows)
    everything = [row for rows in splits.values() for row in rows]
    return {
        **{f"{name}_prompts": len(rows) for name, rows in splits.items()},
        "families": len({row.family for row in everything}),
        "comply_share": round(
            sum(row.over_refusal for row in everything) / max(1, len(everything)), 4
        ),
        "attacked_prompts": sum(row.attack is not None for row in everything),
    }


@safety_prompts.gate
def expectations(context: Context) -> list[Part]:
    gates, rules = context.settings.gates, compiled_rules(context)
    rows = split_files(context.folder)
    rows["text"] = conversation_text(rows)
    framed = rows.get("attack", pd.Series(index=rows.index, dtype=object)).notna()
    # What was asked, without the frame, is what may not be in two splits.
    asked = [
        row["attack"]["plain"] if yes else row["conversation"]
        for row, yes in zip(rows.to_dict("records"), framed, strict=True)
    ]
    plain = rows.assign(conversation=pd.Series(asked, index=rows.index))
    attacks = pd.DataFrame({"split": rows["split"], "attacked": framed.astype(int)})
    attacks = attacks[attacks["split"] != "train"]
    comply = rows["response_type"].isin(filter(rules.over_refusal, rules.response_types))
    lookalikes = rows.get("form", pd.Series(index=rows.index, dtype=object))[comply].notna()
    summary = pd.DataFrame(
        {
            "families": [rows["family"].nunique()],
            "prompts": [len(rows)],
            "eval_prompts": [(rows["split"] == "eval").sum()],
            "comply_share": [comply.mean()],
            "lookalike_share": [lookalikes.mean()],
        }
    )
    return [
        Part(
            "prompts",
            rows[COLUMNS],
            [
                *present("id", "family", "category", "response_type"),
                *unique("id", "text"),
                one_of("response_type", rules.response_types),
                one_of("split", SPLITS),
            ],
        ),
        no_empty_split(rows),
        no_leak(rows),
        no_near_duplicates(plain),
        Part(
            "plain splits", attacks, [one_of("attacked", [0], "only train prompts are framed here")]
        ),
        Part(
            "balance",
            summary,
            [
                between("families", gates.family_min, None, "families of prompts"),
                between("prompts", gates.prompts_min, None, "prompts"),
                between("eval_prompts", gates.eval_prompts_min, None, "held-out prompts"),
                between(
                    "comply_share",
                    gates.comply_share_min,
                    gates.comply_share_max,
                    "both ways to fail must show",
                ),
                between(
                    "lookalike_share",
                    gates.lookalike_share_min,
                    None,
                    "comply prompts that look unsafe",
                ),
            ],
        ),
    ]
