"""What each variant is trained against."""

import json
import math
import pickle
from dataclasses import fields

import numpy as np
import pytest

from pipeline.loading import stored_grader, with_noise
from pipeline.profile import Settings
from pipeline.reward import VariantReward
from pipeline.variants import MAIN, VARIANTS
from rbr.data.rows import Message
from rbr.files import write_json
from rbr.grading import load as grader_loading
from rbr.grading.ahead import AheadGrader
from rbr.grading.noise import NoisyGrader
from rbr.training import reward_model
from tests.assets.bodies import compile_rules, context_of
from tests.fakes import FixedGrader, FixedScorer, drawn_weights

REWARDS = {
    "helpful": {"helpful_reward_model"},
    "human": {"human_reward_model"},
    "rbr": {"helpful_reward_model", "fitted_weights"},
    "human_rbr": {"human_reward_model", "human_fitted_weights"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variants_reward_is_of_what_its_policy_declares(tmp_path, variant):
    context = context_of(tmp_path, f"{variant}/ppo_checkpoint")
    reward = VariantReward.of(context)
    parts = {reward.reward_model, reward.weights} - {None}
    assert parts == {context.path(name) for name in REWARDS[variant]}
    read = set(context.artifact.inputs)
    assert read & set().union(*REWARDS.values()) == REWARDS[variant]
    assert ("grader" in read) == (reward.weights is not None)


def test_without_a_variant_it_is_that_of_the_release(tmp_path):
    context = context_of(tmp_path, "model_release")
    assert VariantReward.of(context) == VariantReward.of(context, MAIN)
    assert VariantReward.of(context, MAIN).weights.name == "fitted_weights"


@pytest.fixture
def made(tmp_path, rules):
    """Reward models and weights, each of its own bytes."""
    compile_rules(tmp_path, rules)
    for name in ("helpful_reward_model", "human_reward_model"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "model.safetensors").write_text(name)
    for name in ("fitted_weights", "human_fitted_weights"):
        content = {"weights": drawn_weights(rules), "name": name, "reward_model": True}
        (tmp_path / "data" / name).mkdir()
        write_json(tmp_path / "data" / name / "weights.json", content)
    return tmp_path


def reward_of(root, variant, **settings):
    return VariantReward.of(context_of(root, f"{variant}/ppo_checkpoint", Settings(**settings)))


def test_what_a_policy_is_trained_against_is_digested_by_content(made):
    digests = {variant: reward_of(made, variant).digests() for variant in VARIANTS}
    assert digests["rbr"]["reward_model"] == digests["helpful"]["reward_model"]
    assert digests["human_rbr"]["reward_model"] == digests["human"]["reward_model"]
    assert digests["rbr"]["reward_model"] != digests["human"]["reward_model"]
    assert digests["rbr"]["weights"] != digests["human_rbr"]["weights"]
    assert "weights" not in digests["helpful"]


@pytest.fixture
def fixed(rules, monkeypatch):
    """Graders and reward models that say fixed things take the place of the artifacts'."""
    grader = FixedGrader(rules.proposition_names)
    monkeypatch.setattr(grader_loading, "make_grader", lambda *_: grader)
    monkeypatch.setattr(reward_model, "RewardModel", lambda folder: FixedScorer())
    return grader


ASKED, ANSWERS = [{"role": "user", "content": "q"}], ["a", "b"]
TYPES = ["hard_refusal", "comply"]


def test_it_is_loaded_in_the_process_that_uses_it(made, fixed):
    reward = reward_of(made, "rbr")
    found = reward([ASKED] * 2, ANSWERS, response_type=TYPES)
    # Loaded models stay behind: a training in other processes loads its own.
    settings = {field.name: getattr(reward, field.name) for field in fields(reward)}
    copy = pickle.loads(pickle.dumps(VariantReward(**settings)))
    assert copy(prompts=[ASKED] * 2, completions=ANSWERS, response_type=TYPES) == found
    assert found != reward_of(made, "helpful")([ASKED] * 2, ANSWERS, response_type=TYPES)


def test_without_weights_it_is_the_reward_model_alone(made, fixed):
    conversation = (Message(role="user", content="q"),)
    wanted = FixedScorer().score([conversation] * 2, ANSWERS)
    found = reward_of(made, "human")([ASKED] * 2, ANSWERS, response_type=TYPES)
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variants_reward_is_logged_in_its_parts(made, fixed, variant):
    logged = {}
    found = reward_of(made, variant)(
        [ASKED] * 2, ANSWERS, response_type=TYPES, log_extra=logged.__setitem__
    )
    ruled = VARIANTS[variant].weights is not None
    assert set(logged) == {
        "reward_model",
        *(["contributions", "completion_class"] if ruled else []),
    }
    terms = [math.fsum(json.loads(t).values()) for t in logged.get("contributions", ["{}"] * 2)]
    assert found == [sum(own) for own in zip(logged["reward_model"], terms, strict=True)]


def test_noise_is_on_what_the_policy_is_trained_against(made, fixed):
    clean, noisy = reward_of(made, "rbr"), reward_of(made, "rbr", grade_noise=0.2)
    assert clean.rule_based.grader is fixed
    assert isinstance(noisy.rule_based.grader, NoisyGrader)
    for noise, kind in ((0.0, FixedGrader), (0.2, NoisyGrader)):
        context = context_of(made, "graded_comparisons", Settings(grade_noise=noise))
        assert isinstance(with_noise(context, fixed), kind)


def test_noise_is_not_on_what_confirms_comparisons(made, fixed, rules):
    context = context_of(made, "synthetic_comparisons", Settings(grade_noise=0.2))
    conversations = [(Message(role="user", content="q"),)] * 2
    found = stored_grader(context, rules).grade(conversations, ANSWERS)
    assert np.array_equal(found, fixed.grade(conversations, ANSWERS))
    assert "grade_noise" not in context.artifact.settings


def test_answers_are_graded_ahead_where_the_grader_is_on_a_server(made, fixed):
    grader = Settings().grader.model_copy(update={"engine": "openai"})
    reward = reward_of(made, "rbr", grader=grader)
    assert isinstance(reward.rule_based.grader, AheadGrader)
    for answer in ANSWERS:
        reward.prepare([ASKED], [answer], response_type=TYPES[:1])
    reward.prepare([ASKED], ["c"], response_type=[None])
    found = reward([ASKED] * 2, ANSWERS, response_type=TYPES)
    here = reward_of(made, "rbr")
    assert found == here([ASKED] * 2, ANSWERS, response_type=TYPES)
    # Here it would take the processor from what it overlaps with.
    assert here.rule_based.grader is fixed
    here.prepare([ASKED], ["a"], response_type=TYPES[:1])
