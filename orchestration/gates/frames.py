"""Artifacts as the data frames that the gates look at."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rbr.data.splits import near_duplicates
from rbr.files import read_json
from rbr.steps import Context

SPLITS = ("train", "validation", "eval")


def json_lines(path: Path, **extra: Any) -> pd.DataFrame:
    """A JSONL file as a frame, with constant columns ``extra``."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return pd.DataFrame(rows).assign(**extra)


def split_files(folder: Path, splits: tuple[str, ...] = SPLITS) -> pd.DataFrame:
    """The splits' files one below the other, with a column ``split``."""
    return pd.concat(
        [json_lines(folder / f"{split}.jsonl", split=split) for split in splits], ignore_index=True
    )


def conversation_text(frame: pd.DataFrame) -> pd.Series:
    """Each row's turns as one text, to find repeated conversations."""
    return frame["conversation"].map(
        lambda turns: "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
    )


def leaks(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a family: the number of splits that it is in (a leak if above 1)."""
    return frame.groupby("family")["split"].nunique().rename("splits").reset_index()


def sizes(frame: pd.DataFrame, splits: Sequence[str]) -> pd.DataFrame:
    """One row a split: the number of its rows."""
    counts = frame["split"].value_counts().reindex(list(splits), fill_value=0)
    return pd.DataFrame({"split": counts.index, "rows": counts.to_numpy()})


def repeated_across(frame: pd.DataFrame) -> pd.DataFrame:
    """One row: how many pairs of nearly the same last user turn are in two splits, and the first."""
    last = frame["conversation"].map(lambda turns: turns[-1]["content"])
    first = ""
    count = 0
    for split, other in itertools.combinations(SPLITS, 2):
        left, right = frame[frame["split"] == split], frame[frame["split"] == other]
        found = near_duplicates(last[left.index].tolist(), last[right.index].tolist())
        count += len(found)
        if found and not first:
            i, j, _ = found[0]
            first = f"{left.iloc[i]['id']}, {right.iloc[j]['id']}"
    return pd.DataFrame({"pairs": [count], "first": [first]})


def metrics(context: Context, artifact: str) -> pd.DataFrame:
    """The artifact's metrics as a frame of one row."""
    return pd.DataFrame([read_json(context.path(artifact, context.variant) / "metrics.json")])
