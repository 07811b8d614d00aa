"""The reward: features, completion classes, fitted weights, and R_tot."""

from rbr.reward.classes import class_probabilities, hard_class
from rbr.reward.confirm import confirms
from rbr.reward.features import features
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
    "features",
    "fit_response_type",
    "fit_weights",
    "hard_class",
    "make_pairs",
    "pair_error",
]
