"""The safety evaluation of a variant: reward beside the judge over PPO's rollouts."""

import numpy as np
import pytest

from assets import safety_eval
from rbr.evaluation import fluency
from rbr.evaluation.fluency import Likelihood
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


def liked(conversations, completions):
    """Longer answers are less likely; empty ones have no token."""
    return [Likelihood(-float(len(text)) * len(text), len(text)) for text in completions]


def alarmed(tmp_path, rules, monkeypatch, samples):
    """The alarm's parts after a training with these samples: (rollout, prompt, reward, completion)."""
    compile_rules(tmp_path, rules)
    monkeypatch.setattr(safety_eval, "load_judge_grader", lambda _: Says(rules.proposition_names))
    monkeypatch.setattr(fluency, "Fluency", lambda _: liked)
    context = context_of(tmp_path, "rbr/safety_eval")
    names = ("rollout", "prompt", "reward", "completion")
    rows = [{"response_type": "hard_refusal", **dict(zip(names, s, strict=True))} for s in samples]
    write_rows(context.own("ppo_checkpoint") / "samples.jsonl", rows)
    context.folder.mkdir(parents=True)
    safety_eval.plot_over_optimisation(context, context.folder)
    return safety_eval.reward_hacking(context)


def training(reward, later):
    """Two rollouts of six prompts: ideal answers in the first, ``later`` in the last."""
    first = [(1, f"p{n}", 0.1 * n, IDEAL) for n in range(6)]
    return first + [(2, f"p{n}", reward + 0.1 * n, later) for n in range(6)]


@pytest.mark.parametrize(
    "samples, falls",
    [
        (training(3.0, "judgement"), {"ideal"}),
        (training(3.0, IDEAL + " " * 30), {"fluency"}),
        (training(3.0, "judgement " * 9), {"ideal", "fluency"}),
        # The reward rises alone with what gave none, or does not rise.
        (training(3.0, IDEAL), set()),
        (training(0.0, "judgement"), set()),
        (training(-3.0, "judgement"), set()),
    ],
)
def test_the_alarm_sounds_where_the_reward_rises_while_the_judge_or_fluency_falls(
    tmp_path, rules, monkeypatch, samples, falls
):
    [part] = alarmed(tmp_path, rules, monkeypatch, samples)
    [row] = part.frame.to_dict("records")
    assert {name for name in ("ideal", "fluency") if row[f"{name}_fall"] > 0} == falls
    rise = samples[-1][2] - samples[5][2]
    assert row["reward_change"] == pytest.approx(rise)


def test_an_alarm_of_one_sampled_rollout_says_nothing(tmp_path, rules, monkeypatch):
    assert alarmed(tmp_path, rules, monkeypatch, training(3.0, "judgement")[:6]) == []


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
    monkeypatch.setattr(fluency, "Fluency", lambda _: liked)
    context = context_of(tmp_path, "rbr/safety_eval")
    write_rows(context.own("ppo_checkpoint") / "samples.jsonl", samples)
    output = tmp_path / "output"
    output.mkdir()
    safety_eval.plot_over_optimisation(context, output)
    assert read_json(output / "over_optimisation.json") == {
        "rollouts": [
            {"rollout": 4, "reward": pytest.approx(1.5), "ideal": 0.5},
            {"rollout": 8, "reward": 5.0, "ideal": 0.0},
        ],
        "changes": {},  # of one prompt a half
    }
    assert (output / "over_optimisation.png").stat().st_size > 5_000
