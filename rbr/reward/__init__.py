"""The reward: features, completion classes, fitted weights, and R_tot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbr.reward.classes import class_probabilities, hard_class
    from rbr.reward.confirm import confirms
    from rbr.reward.fit import Comparisons, FittedWeights, fit_response_type
    from rbr.reward.rule_based_reward import Explanation, RuleBasedReward, Scorer
    from rbr.reward.weights import Fit, Pairs, fit_weights, make_pairs, pair_error

__all__ = [
    "Comparisons",
    "Explanation",
    "Fit",
    "FittedWeights",
    "Pairs",
    "RuleBasedReward",
    "Scorer",
    "class_probabilities",
    "confirms",
    "fit_response_type",
    "fit_weights",
    "hard_class",
    "make_pairs",
    "pair_error",
]
_MODULES = {
    "classes": ("class_probabilities", "hard_class"),
    "confirm": ("confirms",),
    "fit": ("Comparisons", "FittedWeights", "fit_response_type"),
    "rule_based_reward": ("Explanation", "RuleBasedReward", "Scorer"),
    "weights": ("Fit", "Pairs", "fit_weights", "make_pairs", "pair_error"),
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: a profile names options without loading SciPy."""
    import importlib

    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
