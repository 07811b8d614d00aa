"""Fitting a yes/no grader: which wording of the question, and which calibration, per proposition.

On gold train rows alone; held-out rows stay unseen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from rbr.data.rows import Labelled
from rbr.grading.accuracy import label_matrix
from rbr.grading.calibration import decision_threshold, platt, sigmoid
from rbr.grading.prompts import STYLES
from rbr.grading.yesno import FittedPrompt, YesNoEngine, YesNoGrader
from rbr.rules import Rules

logger = logging.getLogger(__name__)


def fit_prompts(
    engine: YesNoEngine,
    rules: Rules,
    rows: Sequence[Labelled],
    log: Callable[[str], None] = logger.info,
) -> dict[str, FittedPrompt]:
    """The style with the least log loss after calibration, per proposition.

    Args:
        rows: labelled completions to choose and calibrate on.
        log: called with a line per style.
    """
    names = rules.proposition_names
    labels = label_matrix(rows, names)
    weights = np.ones(len(rows))
    best: dict[str, tuple[float, FittedPrompt]] = {}
    for style in STYLES:
        log(f"asking {len(rows)} gold rows by the style '{style}'")
        grader = YesNoGrader(engine, rules, {name: FittedPrompt(style) for name in names})
        odds = grader.log_odds(
            [row.conversation for row in rows], [row.completion for row in rows], names
        )
        for j, name in enumerate(names):
            slope, offset = platt(odds[:, j], labels[:, j], weights)
            scores = slope * odds[:, j] + offset
            loss = float((np.logaddexp(0, scores) - labels[:, j] * scores).mean())
            if name not in best or loss < best[name][0]:
                threshold = decision_threshold(sigmoid(scores), labels[:, j], weights)
                best[name] = (loss, FittedPrompt(style, slope, offset, threshold))
    return {name: prompt for name, (_, prompt) in best.items()}
