"""Over-optimisation: the reward rises while what gave no reward falls (Gao et al. 2023)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any


def changes(
    samples: Sequence[Mapping[str, Any]], measures: Sequence[str]
) -> dict[str, tuple[float, float, float]]:
    """How measures (the reward, and what gave none) change from the earlier half of the sampled rollouts to the later.

    Args:
        samples: rows of ``rollout``, ``prompt`` and the measures; a measure that a row lacks is None.

    Returns:
        Measure -> (difference of the means, low, high), with the 95 % interval of Welch's t. A prompt's
        completions of a rollout count once, as their mean. None at all of fewer than two rollouts; a
        measure is left out where a half has fewer than two prompts with it.
    """
    rollouts = sorted({row["rollout"] for row in samples})
    half = len(rollouts) // 2
    if not half:
        return {}
    found = {}
    for name in measures:
        earlier, later = (
            prompt_means(samples, name, set(own)) for own in (rollouts[:half], rollouts[-half:])
        )
        if min(len(earlier), len(later)) > 1:
            found[name] = difference(earlier, later)
    return found


def prompt_means(
    samples: Sequence[Mapping[str, Any]], name: str, rollouts: set[int]
) -> list[float]:
    """The mean of a measure over each prompt's completions of a rollout."""
    values: dict[tuple[int, str], list[float]] = defaultdict(list)
    for row in samples:
        if row["rollout"] in rollouts and row[name] is not None:
            values[row["rollout"], row["prompt"]].append(float(row[name]))
    return [fmean(own) for own in values.values()]


def difference(earlier: Sequence[float], later: Sequence[float]) -> tuple[float, float, float]:
    """The mean of ``later`` less that of ``earlier``, and the ends of Welch's 95 % interval."""
    from scipy.stats import ttest_ind

    middle = fmean(later) - fmean(earlier)
    if len({*earlier}) == len({*later}) == 1:  # no variance, so no t
        return middle, middle, middle
    ends = ttest_ind(later, earlier, equal_var=False).confidence_interval()
    return middle, float(ends.low), float(ends.high)


def certain_fall(changes: Mapping[str, Sequence[float]], name: str) -> float:
    """By how much a measure fell at least while the reward certainly rose; 0 where either is not certain."""
    _, low, _ = changes["reward"]
    _, _, high = changes[name]
    return max(0.0, -high) if low > 0 else 0.0
