"""The reward by hand, on graders and reward models that say fixed things."""

import numpy as np
import pytest

from rbr.data.rows import Message
from rbr.errors import DataError
from rbr.features import features
from rbr.reward import RuleBasedReward

TALK = [{"role": "user", "content": "q"}]


class Fixed:
    """Grades by a completion's number."""

    def __init__(self, names):
        self.propositions = names

    def identity(self, proposition):
        return "fixed"

    def grade(self, conversations, completions, progress=None, propositions=None):
        rows = [
            np.random.default_rng(len(text)).random(len(self.propositions)) for text in completions
        ]
        return np.array(rows)


class Length:
    def score(self, conversations, completions):
        return np.array([float(len(text)) for text in completions])


class Broken(Fixed):
    def grade(self, conversations, completions, progress=None, propositions=None):
        raise RuntimeError("server gone")


@pytest.fixture
def weights(rules):
    random = np.random.default_rng(0)
    return {
        kind: {name: float(random.normal()) for name in rules.feature_names(kind)}
        for kind in rules.response_types
    }


def test_the_reward_is_w_phi_plus_the_reward_model(rules, weights):
    grader = Fixed(rules.proposition_names)
    reward = RuleBasedReward(rules, weights, grader, Length())
    found = reward([TALK] * 2, ["abc", "abcde"], response_type=["hard_refusal", "comply"])
    for text, kind, value in zip(["abc", "abcde"], ["hard_refusal", "comply"], found, strict=True):
        phi = features(grader.grade([None], [text]), grader.propositions, rules, kind)[0]
        w = np.array([weights[kind][name] for name in rules.feature_names(kind)])
        assert value == pytest.approx(len(text) + phi @ w)


def test_a_prompt_outside_the_policy_gets_the_reward_model_alone(rules, weights):
    reward = RuleBasedReward(rules, weights, Broken(rules.proposition_names), Length())
    assert reward([TALK], ["abcd"], response_type=[None]) == [4.0]
    assert reward([TALK], ["abcd"]) == [4.0]


def test_a_grader_that_fails_stops_the_training(rules, weights):
    reward = RuleBasedReward(rules, weights, Broken(rules.proposition_names), Length())
    with pytest.raises(RuntimeError, match="server gone"):
        reward([TALK], ["abcd"], response_type=["comply"])


def test_an_explanation_sums_to_the_reward(rules, weights):
    reward = RuleBasedReward(rules, weights, Fixed(rules.proposition_names), Length())
    told = reward.explain((Message(role="user", content="q"),), "abc", "soft_refusal_methods")
    total = told.reward_model + sum(part for _, _, part in told.contributions.values())
    assert told.reward == pytest.approx(total)
    [value] = reward([TALK], ["abc"], response_type=["soft_refusal_methods"])
    assert told.reward == pytest.approx(value)


def test_weights_of_other_rules_and_unknown_types_are_refused(rules, weights):
    reward = RuleBasedReward(rules, weights, Fixed(rules.proposition_names))
    with pytest.raises(DataError, match="odd_type"):
        reward([TALK], ["abc"], response_type=["odd_type"])
    del weights["comply"]["class:ideal"]
    with pytest.raises(DataError, match="class:ideal"):
        RuleBasedReward(rules, weights, Fixed(rules.proposition_names))
