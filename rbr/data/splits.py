"""Splits by family: what belongs together stays on one side."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from rbr.data.rows import PolicyPrompt, Prompt
from rbr.errors import DataError
from rbr.files import read_rows
from rbr.options import Options

if TYPE_CHECKING:
    from rbr.rules.rules import Rules

RowT = TypeVar("RowT")
PromptT = TypeVar("PromptT", Prompt, PolicyPrompt)


class SplitOptions(Options):
    """Split of the prompt families. Fractions are of families; ``eval`` gets the rest."""

    train_fraction: float = Field(0.6, gt=0, lt=1)
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    limit: int | None = Field(None, description="keep at most this many prompts (smoke profile)")


def normalised(text: str) -> str:
    """Lower case, letters and digits only, single spaces: what duplicates are compared by."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def shingles(text: str, size: int = 3) -> frozenset[tuple[str, ...]]:
    """Word ``size``-grams of the normalised text (the whole text where it is shorter)."""
    words = normalised(text).split()
    if len(words) <= size:
        return frozenset([tuple(words)])
    return frozenset(tuple(words[i : i + size]) for i in range(len(words) - size + 1))


def near_duplicates(
    left: Sequence[str], right: Sequence[str], threshold: float = 0.6
) -> list[tuple[int, int, float]]:
    """Pairs across two lists whose Jaccard similarity of word 3-grams is at least ``threshold``.

    Returns:
        ``(index in left, index in right, similarity)``; candidates come from an inverted index.
    """
    index: dict[tuple[str, ...], list[int]] = defaultdict(list)
    right_sets = [shingles(text) for text in right]
    for j, grams in enumerate(right_sets):
        for gram in grams:
            index[gram].append(j)
    found = []
    for i, text in enumerate(left):
        grams = shingles(text)
        shared: dict[int, int] = defaultdict(int)
        for gram in grams:
            for j in index.get(gram, ()):
                shared[j] += 1
        for j, count in shared.items():
            similarity = count / (len(grams) + len(right_sets[j]) - count)
            if similarity >= threshold:
                found.append((i, j, similarity))
    return found


def split_by_family(
    rows: Iterable[RowT],
    family: Callable[[RowT], str],
    stratum: Callable[[RowT], str],
    fractions: dict[str, float],
    seed: int = 0,
) -> dict[str, list[RowT]]:
    """Split rows so that no family crosses a split, in the given fractions of each stratum's families.

    Families are ordered by a hash of their name and the seed, so that a new family moves few others
    and the order of rows does not matter.

    Args:
        fractions: of families, per split name; splits are filled in this order, the last takes the
            rest.
        stratum: of a family: that of its first row in id order.
    """
    families: dict[str, list[RowT]] = defaultdict(list)
    for row in rows:
        families[family(row)].append(row)
    strata: dict[str, list[str]] = defaultdict(list)
    for name, members in families.items():
        strata[stratum(members[0])].append(name)
    result: dict[str, list[RowT]] = {name: [] for name in fractions}
    last = list(fractions)[-1]
    for members_of in strata.values():
        ordered = sorted(
            members_of, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
        )
        start = 0.0
        for name, fraction in fractions.items():
            stop = len(ordered) if name == last else start + fraction * len(ordered)
            for chosen in ordered[round(start) : round(stop)]:
                result[name].extend(families[chosen])
            start = stop
    return result


def kept_prompts(
    rows: Sequence[PromptT], options: SplitOptions, seed: int
) -> dict[str, list[PromptT]]:
    """The splits as the artifacts hold them: no more than the limit, in order of ids."""
    splits = split_prompts(rows, options, seed)
    step = max(1, len(rows) // options.limit) if options.limit else 1
    return {
        name: sorted(members[::step], key=lambda row: row.id) for name, members in splits.items()
    }


def split_prompts(
    rows: Sequence[PromptT], options: SplitOptions, seed: int
) -> dict[str, list[PromptT]]:
    """Safety prompts by split, in these fractions of each category's families."""
    return split_by_family(
        rows,
        lambda row: row.family,
        lambda row: row.category,
        {
            "train": options.train_fraction,
            "validation": options.validation_fraction,
            "eval": 1 - options.train_fraction - options.validation_fraction,
        },
        seed,
    )


def policy_prompts(
    folder: Path, rules: Rules, options: SplitOptions, seed: int
) -> dict[str, list[PolicyPrompt]]:
    """Read the prompts of a folder, and split them by family.

    Raises:
        DataError: if a prompt that the policy refuses has a written answer, or one that it complies
            with has none.
    """
    rows = []
    for prompt in read_rows(folder, Prompt):
        response_type = rules.response_type(prompt.category, prompt.kind)
        if (response_type == "comply") != (prompt.answer is not None):
            raise DataError(
                f"row '{prompt.id}': answer and partial are for comply prompts, and each of those has"
                f" them; the policy gives this one '{response_type}'",
                folder,
            )
        rows.append(PolicyPrompt(**prompt.model_dump(), response_type=response_type))
    return kept_prompts(rows, options, seed)
