"""Whether the gold rows can measure the propositions that the reward reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rbr.data.rows import Labelled
from rbr.errors import RuleError
from rbr.rules.models import RESPONSE_TYPES
from rbr.rules.rules import Rules
from rbr.rules.yaml import place_of, read_mapping


def support_errors(
    folder: Path, rules: Rules, gold: Sequence[Labelled], least: int
) -> list[RuleError]:
    """Propositions of a feature set that fewer than ``least`` gold rows have, or that all rows have.

    Args:
        folder: of the rules; the errors name the feature's place in its ``reward.yaml``.
        gold: the written gold rows.
    """
    path = folder / "reward.yaml"
    raw = read_mapping(path)
    positives = Counter(name for row in gold for name in row.true)
    errors = []
    reported: set[str] = set()
    for response_type in RESPONSE_TYPES:
        for i, name in enumerate(rules.reward[response_type].features):
            found = positives[name]
            if name in reported or least <= found < len(gold):
                continue
            reported.add(name)
            text = (
                f"'{name}' is true on {found} of {len(gold)} gold rows, at least {least} are needed:"
                " label more of data/source/gold (`rbr data label`), or drop the feature"
                if found < least
                else f"'{name}' is true on all {found} gold rows: label some where it is false"
            )
            errors.append(RuleError(text, place_of(path, raw, [response_type, "features", i])))
    return errors
