"""The reward: features, completion classes, fitted weights, and R_tot."""

from rbr.reward.classes import class_probabilities, hard_class
from rbr.reward.confirm import confirms
from rbr.reward.features import features
from rbr.reward.rule_based_reward import Explanation, RuleBasedReward, Scorer
from rbr.reward.weight_checks import Bounds, Comparisons, fit_path
from rbr.reward.weights import Fit, Pairs, fit_weights, make_pairs, pair_error

__all__ = [
    "Bounds",
    "Comparisons",
    "Explanation",
    "Fit",
    "Pairs",
    "RuleBasedReward",
    "Scorer",
    "class_probabilities",
    "confirms",
    "features",
    "fit_path",
    "fit_weights",
    "hard_class",
    "make_pairs",
    "pair_error",
]
