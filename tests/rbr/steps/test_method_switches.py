"""Switches of the method that ablations turn: fixed weights, no R_rm on safety prompts, noise."""

import json

import pandas as pd
import pytest

from rbr.data.rows import HelpfulPrompt, Message, PolicyPrompt
from rbr.reward.rule_based_reward import RuleBasedReward
from pipeline.profile import RL, read_settings
from rbr.steps import Context, run_step
from rbr.training.policy import mixed_prompts
from tests.fakes import FixedGrader, FixedScorer, ranked_comparisons

ASKED = (Message(role="user", content="q"),)


def changed(root, **sections):
    """The smoke profile with some values changed."""
    settings = read_settings(root, "smoke")[1]
    update = {
        name: getattr(settings, name).model_copy(update=own) for name, own in sections.items()
    }
    return settings.model_copy(update=update)


@pytest.fixture
def fitted(root, rules, rules_folder):
    """``fitted_weights`` on made-up comparisons, with the settings given."""

    def run(**weights):
        context = Context(rules_folder.parent, changed(root, weights=weights))
        folder = context.path("graded_comparisons")
        folder.mkdir(parents=True, exist_ok=True)
        for split in ("train", "validation", "eval"):
            rows = [r for kind in rules.reward for r in ranked_comparisons(rules, kind, split)]
            pd.DataFrame(rows).to_parquet(folder / f"{split}.parquet")
        run_step("fitted_weights", context)
        made = context.path("fitted_weights")
        return json.loads((made / "weights.json").read_text()), json.loads(
            (made / "report.json").read_text()
        )

    return run


def test_fixed_weights_have_one_size_and_the_rules_signs(rules, fitted):
    weights, report = fitted(fixed=10.0)
    wanted = {"positive": 10.0, "negative": -10.0, "free": 0.0}
    for kind, by_name in weights["weights"].items():
        assert by_name == {name: wanted[rules.sign(kind, name)] for name in by_name}
        assert report[kind]["relative_duality_gap"] < 0.01
        assert 0 <= report[kind]["pair_error"]["total"] <= 1


def test_without_the_reward_model_the_rules_are_fitted_and_used_alone(rules, fitted, tmp_path):
    told, report = fitted(reward_model=False)
    assert told["reward_model"] is False
    for own in report.values():
        assert own["pair_error"]["total"] == own["pair_error"]["rbr"]
        # R_rm orders these pairs the wrong way round, and is still told as it is.
        assert own["pair_error"]["reward_model"] == 1.0
    path = tmp_path / "weights.json"
    path.write_text(json.dumps(told))
    grader = FixedGrader(rules.proposition_names)
    reward = RuleBasedReward.load(rules, path, grader, FixedScorer())
    alone = RuleBasedReward(rules, told["weights"], grader)
    conversations = [[{"role": "user", "content": "q"}]] * 2
    kinds = ["hard_refusal", None]
    found = reward(conversations, ["a", "b"], response_type=kinds)
    assert found[0] == alone(conversations, ["a", "b"], response_type=kinds)[0]
    assert found[1] == FixedScorer().score([ASKED], ["b"])[0]


def test_the_reward_model_counts_by_default(fitted):
    told, report = fitted()
    assert told["reward_model"] is True
    for own in report.values():
        assert own["pair_error"]["total"] < own["pair_error"]["reward_model"]


@pytest.mark.parametrize("share, comply", [(0.5, 20), (0.25, 10), (1.0, 40), (0.0, 0)])
def test_the_comply_share_is_that_of_the_safety_prompts(share, comply):
    def prompt(i, kind):
        return PolicyPrompt(
            id=f"{kind}{i}", family=f"{kind}{i}", category="K-C", kind="any", topic="it",
            conversation=ASKED, response_type=kind, answer="yes", partial="well",
        )  # fmt: skip

    safety = [prompt(i, k) for i in range(50) for k in ("comply", "hard_refusal")]
    helpful = [HelpfulPrompt(id=f"h{i}", family=f"h{i}", conversation=ASKED) for i in range(20)]
    rows = mixed_prompts(safety, helpful, 60, RL(safety_share=2 / 3, comply_share=share), seed=0)
    kinds = [row["response_type"] for row in rows]
    assert len(rows) == 60
    assert kinds.count("comply") == comply
    assert kinds.count("hard_refusal") == 40 - comply
    assert kinds.count(None) == 20


def test_noise_is_on_the_reward_and_not_on_what_confirms_comparisons(root, rules, monkeypatch):
    from rbr.grading.noise import NoisyGrader
    from pipeline import inputs

    clean = FixedGrader(rules.proposition_names)
    monkeypatch.setattr(common, "load_grader", lambda context, stored=True: clean)
    settings = read_settings(root, "smoke")[1]
    assert common.reward_grader(Context(root, settings)) is clean
    noisy = Context(root, settings.model_copy(update={"grade_noise": 0.2}))
    assert isinstance(common.reward_grader(noisy), NoisyGrader)
