"""The reward by hand, on graders and reward models that say fixed things."""

import json
import math
import random

import numpy as np
import pytest

from rbr.data.rows import Message
from rbr.errors import DataError
from rbr.reward.features import features
from rbr.reward.rule_based_reward import RuleBasedReward, fitted_to
from rbr.rules import load_rules
from rbr.rules.compiled import load_compiled, write_compiled
from tests.fakes import FixedGrader, FixedScorer, drawn_weights

TALK = [{"role": "user", "content": "q"}]
ASKED = (Message(role="user", content="q"),)


class Length:
    def score(self, conversations, completions):
        return np.array([float(len(text)) for text in completions])


class Broken(FixedGrader):
    def grade(self, conversations, completions, progress=None, propositions=None):
        raise RuntimeError("server gone")


@pytest.fixture
def weights(rules):
    return drawn_weights(rules)


def test_the_reward_is_w_phi_plus_the_reward_model(rules, weights):
    grader = FixedGrader(rules.proposition_names)
    reward = RuleBasedReward(rules, weights, grader, Length())
    found = reward([TALK] * 2, ["abc", "abcde"], response_type=["hard_refusal", "comply"])
    for text, kind, value in zip(["abc", "abcde"], ["hard_refusal", "comply"], found, strict=True):
        phi = features(grader.grade([ASKED], [text]), grader.propositions, rules, kind)[0]
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


@pytest.mark.parametrize("kind", ["hard_refusal", "comply", "soft_refusal_methods", None])
def test_an_explanation_sums_to_the_reward_bit_for_bit(rules, weights, kind):
    reward = RuleBasedReward(rules, weights, FixedGrader(rules.proposition_names), FixedScorer())
    texts = ["a" * n for n in range(1, 40)]
    found = reward([TALK] * len(texts), texts, response_type=[kind] * len(texts))
    for text, value in zip(texts, found, strict=True):
        explanation = reward.explain(ASKED, text, kind)
        parts = [part for _, _, part in explanation.contributions.values()]
        assert all(v * w == part for v, w, part in explanation.contributions.values())
        # In any order, and alone as in a batch.
        random.Random(0).shuffle(parts)
        assert explanation.reward == explanation.reward_model + math.fsum(parts)
        assert explanation.reward == value


def test_logged_parts_sum_to_the_reward_bit_for_bit(rules, weights):
    reward = RuleBasedReward(rules, weights, FixedGrader(rules.proposition_names), FixedScorer())
    texts = ["a" * n for n in range(1, 40)]
    kinds = [[*rules.response_types, None][n % 5] for n in range(len(texts))]
    logged = {}
    found = reward([TALK] * len(texts), texts, response_type=kinds, log_extra=logged.__setitem__)
    assert {len(values) for values in logged.values()} == {len(texts)}
    for i, (text, kind) in enumerate(zip(texts, kinds, strict=True)):
        parts = json.loads(logged["contributions"][i])
        explanation = reward.explain(ASKED, text, kind)
        assert parts == {name: term for name, (_, _, term) in explanation.contributions.items()}
        assert found[i] == logged["reward_model"][i] + math.fsum(parts.values())
        values = {name: value for name, (value, _, _) in explanation.contributions.items()}
        classes = {n.removeprefix("class:"): v for n, v in values.items() if n.startswith("class:")}
        assert logged["completion_class"][i] == (max(classes, key=classes.get) if kind else None)


def test_a_batchs_company_does_not_change_a_reward(rules, weights):
    reward = RuleBasedReward(rules, weights, FixedGrader(rules.proposition_names), FixedScorer())
    texts = ["a" * n for n in range(1, 40)]
    kinds = [[*rules.response_types, None][n % 5] for n in range(len(texts))]
    together = reward([TALK] * len(texts), texts, response_type=kinds)
    alone = [
        reward([TALK], [text], response_type=[kind])[0]
        for text, kind in zip(texts, kinds, strict=True)
    ]
    assert together == alone


def test_weights_of_other_rules_and_unknown_types_are_refused(rules, weights):
    reward = RuleBasedReward(rules, weights, FixedGrader(rules.proposition_names))
    with pytest.raises(DataError, match="odd_type"):
        reward([TALK], ["abc"], response_type=["odd_type"])
    del weights["comply"]["class:ideal"]
    with pytest.raises(DataError, match="class:ideal"):
        RuleBasedReward(rules, weights, FixedGrader(rules.proposition_names))


def load(rules, path, content):
    path.write_text(json.dumps(content))
    return RuleBasedReward.load(rules, path, FixedGrader(rules.proposition_names))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "much", [1.0]])
def test_weights_that_are_no_numbers_do_not_load(rules, weights, tmp_path, value):
    path = tmp_path / "weights.json"
    load(rules, path, {"weights": weights})
    weights["comply"]["class:ideal"] = value
    with pytest.raises(
        DataError, match=r"weights\.json: not fitted weights \(weights\.comply\.class:"
    ):
        load(rules, path, {"weights": weights})


@pytest.mark.parametrize("content", [{}, {"weights": None}, {"weights": {"comply": 1.0}}])
def test_a_file_without_weights_is_told(rules, tmp_path, content):
    with pytest.raises(DataError, match="not fitted weights"):
        load(rules, tmp_path / "weights.json", content)


EDITS = {
    "wording": ("propositions/judgement.yaml", "The answer calls the request", "The answer scolds"),
    "class": ("derived.yaml", "    - requests_information\n    - judgement\n", "    - judgement\n"),
    "order": ("reward.yaml", "[[full], [partial], [off_topic, refusal]]",
              "[[full], [partial], [off_topic], [refusal]]"),
    "margin": ("reward.yaml", "margin: 3.0", "margin: 1.5"),
    "policy": ("content_policy.yaml", "hateful_content: hard_refusal",
               "hateful_content: soft_refusal_methods"),
    "comment": ("reward.yaml", "margin: 3.0", "margin: 3.0  # noted"),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_weights_fitted_to_other_rules_do_not_load(rules, weights, rules_folder, edit):
    file, old, new = EDITS[edit]
    text = (rules_folder / file).read_text()
    assert old in text
    (rules_folder / file).write_text(text.replace(old, new))
    now, path = load_rules(rules_folder), rules_folder / "fitted" / "weights.json"
    path.parent.mkdir()
    content = {"weights": weights, "rules": fitted_to(rules)}
    load(rules, path, content)
    if edit in ("policy", "comment"):  # which change nothing that weights are fitted to
        load(now, path, content)
    else:
        with pytest.raises(DataError, match=r"other rules: fit them again \(materialize 'fitted'"):
            load(now, path, content)


def test_compiled_rules_are_the_rules_that_weights_are_fitted_to(rules, tmp_path):
    write_compiled(tmp_path, rules, "head")
    assert fitted_to(load_compiled(tmp_path)) == fitted_to(rules)
