"""The weights' switches that ablations turn: fixed weights, no R_rm on safety prompts."""

import pandas as pd
import pytest

from pipeline.profile import read_settings
from rbr.data.rows import Message
from rbr.files import read_json, write_json
from rbr.reward.rule_based_reward import RuleBasedReward
from tests.assets.bodies import compile_rules, context_of, make
from tests.fakes import FixedGrader, FixedScorer, ranked_comparisons

ASKED = (Message(role="user", content="q"),)


@pytest.fixture
def fit(root, rules, tmp_path):
    """Makes ``fitted_weights`` of made-up comparisons, with the settings given."""
    compile_rules(tmp_path, rules)
    folder = tmp_path / "data" / "graded_comparisons"
    folder.mkdir(parents=True)
    for split in ("train", "validation", "eval"):
        rows = [row for kind in rules.reward for row in ranked_comparisons(rules, kind, split)]
        pd.DataFrame(rows).to_parquet(folder / f"{split}.parquet")

    def run(**weights):
        settings = read_settings(root, "smoke")[1]
        changed = {"weights": settings.weights.model_copy(update={"l2_path": (1e-2,), **weights})}
        context = context_of(tmp_path, "fitted_weights", settings.model_copy(update=changed))
        make(context)
        return (read_json(context.folder / f"{name}.json") for name in ("weights", "report"))

    return run


def test_fixed_weights_have_one_size_and_the_rules_signs(rules, fit):
    weights, report = fit(fixed=10.0)
    wanted = {"positive": 10.0, "negative": -10.0, "free": 0.0}
    for kind, by_name in weights["weights"].items():
        assert by_name == {name: wanted[rules.sign(kind, name)] for name in by_name}
        assert report[kind]["relative_duality_gap"] < 0.01
        assert 0 <= report[kind]["pair_error"]["total"] <= 1


def test_without_the_reward_model_the_rules_are_fitted_and_used_alone(rules, fit, tmp_path):
    weights, report = fit(reward_model=False)
    assert weights["reward_model"] is False
    for fitted in report.values():
        assert fitted["pair_error"]["total"] == fitted["pair_error"]["rbr"]
        # R_rm orders these pairs the wrong way round, and is still reported as it is.
        assert fitted["pair_error"]["reward_model"] == 1.0
    path = tmp_path / "weights.json"
    write_json(path, weights)
    grader = FixedGrader(rules.proposition_names)
    reward = RuleBasedReward.load(rules, path, grader, FixedScorer())
    alone = RuleBasedReward(rules, weights["weights"], grader)
    conversations = [[{"role": "user", "content": "q"}]] * 2
    kinds = ["hard_refusal", None]
    found = reward(conversations, ["a", "b"], response_type=kinds)
    assert found[0] == alone(conversations, ["a", "b"], response_type=kinds)[0]
    assert found[1] == FixedScorer().score([ASKED], ["b"])[0]


def test_the_reward_model_counts_by_default(fit):
    weights, report = fit()
    assert weights["reward_model"] is True
    for fitted in report.values():
        assert fitted["pair_error"]["total"] < fitted["pair_error"]["reward_model"]
