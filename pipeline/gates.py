"""What gates are made of: data frames of an artifact, and Great Expectations' expectations of them.

The thresholds are the profile's section ``gates``. The gate of an artifact stands in its module.
"""

from __future__ import annotations

import importlib
import itertools
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from rbr.data.splits import near_duplicates
from rbr.files import read_json

if TYPE_CHECKING:
    from pipeline.context import Context

SPLITS = ("train", "validation", "eval")
Expectation = Any
LIMITS = ("expect_column_values_to_be_between", "expect_column_values_to_be_in_set")


@cache
def _expectations() -> Any:
    """Great Expectations' module of expectations; its import takes seconds."""
    # Read as it is imported.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    return importlib.import_module("great_expectations.expectations")


@dataclass(frozen=True)
class Part:
    """A frame and what is expected of it."""

    name: str
    frame: pd.DataFrame
    expectations: list[Expectation]

    @property
    def checked(self) -> list[Expectation]:
        """The expectations, and that no value they set limits to is missing.

        Great Expectations passes over what is missing: the KL of a training that broke down is NaN, and
        would be within any limit. Counts and comparisons need no such check: their columns hold no NaN.
        """
        required = {
            e.column
            for e in self.expectations
            if e.expectation_type == "expect_column_values_to_not_be_null"
        }
        limited = dict.fromkeys(e.column for e in self.expectations if e.expectation_type in LIMITS)
        unchecked = [
            column
            for column in limited
            if column not in required and self.frame[column].dtype.kind not in "biu"
        ]
        return [*self.expectations, *present(*unchecked)]


def between(column: str, low: float | None, high: float | None, why: str) -> Expectation:
    """Each value of the column is at least ``low`` and at most ``high``."""
    return _expectations().ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, notes=why
    )


def present(*columns: str) -> list[Expectation]:
    """No value of the columns is missing."""
    return [_expectations().ExpectColumnValuesToNotBeNull(column=column) for column in columns]


def unique(*columns: str) -> list[Expectation]:
    """No value of a column occurs twice."""
    return [_expectations().ExpectColumnValuesToBeUnique(column=column) for column in columns]


def unique_together(*columns: str) -> Expectation:
    """No combination of the columns' values occurs twice."""
    return _expectations().ExpectCompoundColumnsToBeUnique(column_list=list(columns))


def one_of(column: str, values: Iterable[Any], why: str = "") -> Expectation:
    """Each value of the column is one of these."""
    return _expectations().ExpectColumnValuesToBeInSet(
        column=column, value_set=list(values), notes=why
    )


def no_leak(frame: pd.DataFrame) -> Part:
    """No family of prompts is in two splits."""
    splits = frame.groupby("family")["split"].nunique().rename("splits").reset_index()
    why = "a family in two splits would leak what was trained on into the evaluation"
    return Part("families", splits, [between("splits", 1, 1, why)])


def no_empty_split(frame: pd.DataFrame, splits: Sequence[str] = SPLITS) -> Part:
    """Each split has rows."""
    counts = frame["split"].value_counts().reindex(list(splits), fill_value=0)
    sizes = pd.DataFrame({"split": counts.index, "rows": counts.to_numpy()})
    why = "what is fitted or measured on a split without rows says nothing"
    return Part("splits", sizes, [between("rows", 1, None, why)])


def no_near_duplicates(frame: pd.DataFrame) -> Part:
    """No two splits have nearly the same last user turn (word 3-grams)."""
    last = frame["conversation"].map(lambda turns: turns[-1]["content"])
    first, count = "", 0
    for split, other in itertools.combinations(SPLITS, 2):
        left, right = frame[frame["split"] == split], frame[frame["split"] == other]
        found = near_duplicates(last[left.index].tolist(), last[right.index].tolist())
        count += len(found)
        if found and not first:
            i, j, _ = found[0]
            first = f"{left.iloc[i]['id']}, {right.iloc[j]['id']}"
    why = "nearly the same prompt (word 3-grams) in two splits"
    pairs = pd.DataFrame({"pairs": [count], "first": [first]})
    return Part("near duplicates", pairs, [between("pairs", 0, 0, why)])


def preference_pairs(rows: pd.DataFrame, splits: Sequence[str]) -> list[Part]:
    """What any preference pairs must be: two different completions, and no cue in their lengths."""
    rows = rows.assign(
        same=rows["chosen"] == rows["rejected"],
        longer_chosen=(rows["chosen"].str.len() > rows["rejected"].str.len()).astype(float).mean(),
    )
    expectations = [
        *present("chosen", "rejected"),
        *unique("id"),
        one_of("same", [False], "a pair has two different completions"),
        between("longer_chosen", 0.15, 0.9, "share of pairs whose longer answer is preferred"),
    ]
    columns = ["id", "family", "split", "chosen", "rejected", "same", "longer_chosen", "simulated"]
    pairs = Part("pairs", rows[columns], expectations)
    return [pairs, no_empty_split(rows, splits), no_leak(rows)]


def json_lines(path: Path, **constants: Any) -> pd.DataFrame:
    """A JSONL file as a frame, with constant columns."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return pd.DataFrame(rows).assign(**constants)


def split_files(folder: Path, splits: Sequence[str] = SPLITS) -> pd.DataFrame:
    """The files of the splits one below the other, with a column ``split``."""
    return pd.concat(
        [json_lines(folder / f"{split}.jsonl", split=split) for split in splits], ignore_index=True
    )


def conversation_text(frame: pd.DataFrame) -> pd.Series:
    """The turns of each row as one text, to find repeated conversations."""
    return frame["conversation"].map(
        lambda turns: "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
    )


def metrics(context: Context) -> pd.DataFrame:
    """The artifact's metrics as a frame of one row."""
    return pd.DataFrame([read_json(context.folder / "metrics.json")])


def numbers(context: Context) -> Part:
    """Every metric of the artifact is a finite number: of a training that broke down some are not."""
    values = pd.Series(read_json(context.folder / "metrics.json"), dtype=float)
    frame = values.rename_axis("metric").rename("value").reset_index()
    finite = frame.assign(finite=frame["value"].abs() < math.inf)
    return Part("numbers", finite, [one_of("finite", [True], "neither NaN nor infinite")])


def shares(context: Context) -> Part:
    """Every metric of the artifact is a share, and lies in its interval; a row for each."""
    found = read_json(context.folder / "metrics.json")
    names = [
        name
        for name in found
        # Fluency is no share.
        if f"{name}.low" in found and f"{name}.high" in found and not name.endswith(".fluency")
    ]
    rows = pd.DataFrame(
        {
            "metric": names,
            "share": [found[name] for name in names],
            "low": [found[f"{name}.low"] for name in names],
            "high": [found[f"{name}.high"] for name in names],
        }
    )
    rows["below"], rows["above"] = rows["share"] - rows["low"], rows["high"] - rows["share"]
    hair = -1e-9  # of rounding
    return Part(
        "shares",
        rows,
        [
            *(between(column, 0, 1, "a share") for column in ("share", "low", "high")),
            between("below", hair, None, "a share is in its interval"),
            between("above", hair, None, "a share is in its interval"),
        ],
    )
