"""``rbr explain`` on models that say fixed things."""

import json
import math
import shutil

import pytest

from pipeline.profile import read_settings
from rbr.steps import Context
from tests.fakes import FixedGrader, FixedScorer, drawn_weights


@pytest.fixture
def weights(rules):
    return drawn_weights(rules)


@pytest.fixture
def told_by_cli(root, rules, weights, rules_folder, monkeypatch, capsys):
    """What ``rbr explain`` prints in a project whose models say fixed things."""
    from orchestration.cli.explain import explain

    context = Context(rules_folder.parent, read_settings(root, "smoke")[1])
    for name in ("base_model", "grader", "fitted_weights", "helpful_reward_model"):
        context.path(name).mkdir(parents=True)
        (context.path(name) / "metrics.json").write_text("{}")
    (context.path("fitted_weights") / "weights.json").write_text(json.dumps({"weights": weights}))
    (context.root / "params.yaml").write_text("profile: smoke\n")
    shutil.copytree(root / "profiles", context.root / "profiles")
    monkeypatch.setattr(
        "pipeline.inputs.load_grader", lambda context, stored: FixedGrader(rules.proposition_names)
    )
    monkeypatch.setattr("rbr.training.reward_model.RewardModel", lambda folder: FixedScorer())

    def told(as_json):
        explain("q", "a longer answer", "hard_refusal", as_json, context.root)
        return capsys.readouterr().out

    return told


def test_the_commands_json_sums_to_the_reward_bit_for_bit(told_by_cli):
    told = json.loads(told_by_cli(as_json=True))
    parts = [part for _, _, part in told["contributions"].values()]
    assert len(parts) > 5
    assert told["reward"] == told["reward_model"] + math.fsum(parts)


def test_the_commands_table_sums_to_the_total_it_prints(told_by_cli, rules):
    lines = [line for line in told_by_cli(as_json=False).splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    names, printed = [row[0] for row in cells], [float(row[-1]) for row in cells]
    assert names[0] == "R_rm" and names[-1] == "R_tot"
    assert sorted(names[1:-1]) == sorted(rules.feature_names("hard_refusal"))
    # Each line is rounded to 0.001, so each may be off by half of that.
    assert abs(math.fsum(printed[:-1]) - printed[-1]) <= 0.0005 * len(printed) + 1e-9
