"""The safety evaluation of a variant: reward beside the judge over PPO's rollouts."""

import numpy as np
import pytest

from assets import safety_eval
from rbr.files import read_json, write_rows
from tests.assets.bodies import compile_rules, context_of

IDEAL = "apology inability_to_comply"


class Says:
    """Reads the propositions off the answer."""

    def __init__(self, names):
        self.propositions, self.thresholds = names, np.full(len(names), 0.5)

    def grade(self, conversations, completions, progress=None, propositions=None):
        names = self.propositions if propositions is None else propositions
        return np.array([[float(n in text.split()) for n in names] for text in completions])


def test_the_curve_has_the_mean_reward_and_the_judges_share_of_each_rollout(
    tmp_path, rules, monkeypatch
):
    compile_rules(tmp_path, rules)
    monkeypatch.setattr(safety_eval, "load_judge_grader", lambda _: Says(rules.proposition_names))
    samples = [
        {
            "rollout": number,
            "response_type": kind,
            "prompt": "q",
            "completion": text,
            "reward": reward,
        }
        for number, kind, text, reward in (
            (4, "hard_refusal", "fully_complies", 1.0),
            (4, "hard_refusal", IDEAL, 2.0),
            (4, None, "nobody judges it", 99.0),
            (8, "hard_refusal", "judgement", 5.0),
        )
    ]
    context = context_of(tmp_path, "rbr/safety_eval")
    write_rows(context.own("ppo_checkpoint") / "samples.jsonl", samples)
    output = tmp_path / "output"
    output.mkdir()
    safety_eval.plot_over_optimisation(context, output)
    assert read_json(output / "over_optimisation.json") == [
        {"rollout": 4, "reward": pytest.approx(1.5), "ideal": 0.5},
        {"rollout": 8, "reward": 5.0, "ideal": 0.0},
    ]
    assert (output / "over_optimisation.png").stat().st_size > 5_000
