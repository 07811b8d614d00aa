"""Gates: each broken artifact fails the expectation that is meant for it."""

import json
import shutil

import pytest

from orchestration.gates import evaluate
from orchestration.gates.suites import SUITES, Champion, predecessor
from orchestration.gates.suites.training import gain
from rbr.evaluation.paired import Difference
from rbr.settings import read_settings
from rbr.steps import STEPS, Context

pytestmark = pytest.mark.smoke_graph


@pytest.fixture
def context(finished, tmp_path):
    """The finished workspace's artifacts, copied so that a test may break them."""
    for name in ("data", "rules", "profiles"):
        shutil.copytree(finished.root / name, tmp_path / name)
    shutil.copytree(
        finished.root / "models",
        tmp_path / "models",
        ignore=shutil.ignore_patterns("*.safetensors"),
    )
    shutil.copy(finished.root / "params.yaml", tmp_path)
    return Context(tmp_path, read_settings(tmp_path)[1])


def change(path, edit):
    """Edit a JSON file's value, or each row of a JSONL file by number."""
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows = edit(rows)
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        text = json.dumps(edit(json.loads(path.read_text())))
    path.unlink()  # DVC may have linked it to its cache
    path.write_text(text)


def failed(context, artifact):
    gate = evaluate(context, artifact)
    assert gate.passed == (not gate.failures)
    return " ".join(gate.failures)


def test_every_gated_artifact_has_a_suite():
    assert set(SUITES) == {name for name, step in STEPS.items() if step.gate}


def test_results_are_kept_as_data_docs(context):
    gate = evaluate(context, "safety_prompts")
    assert gate.passed, gate.failures
    assert (context.root / gate.docs).is_file()
    assert "comply_share" in gate.markdown()


def test_a_family_on_both_sides_is_a_leak(context):
    folder = context.path("safety_prompts")
    row = json.loads((folder / "train.jsonl").read_text().splitlines()[0])
    row["id"] = "leak-1"
    row["conversation"] = [{"role": "user", "content": "something else entirely"}]
    change(folder / "eval.jsonl", lambda rows: [*rows, row])
    assert "families: splits" in failed(context, "safety_prompts")


def test_a_repeated_prompt_is_found(context):
    path = context.path("safety_prompts") / "train.jsonl"
    change(path, lambda rows: [*rows, {**rows[0], "id": "copy-1"}])
    assert "text: column values to be unique" in failed(context, "safety_prompts")


def test_too_little_support_is_found(context):
    path = context.path("gold_propositions") / "metrics.json"
    change(path, lambda values: {**values, "train_support.apology": -1})
    assert "support" in failed(context, "gold_propositions")


def test_a_human_preference_must_say_that_it_is_simulated(context):
    path = context.path("human_preferences") / "train.jsonl"
    change(path, lambda rows: [{**rows[0], "simulated": False}, *rows[1:]])
    assert "simulated in True" in failed(context, "human_preferences")


def test_a_prompt_without_one_of_its_labels_is_found(context):
    path = context.path("synthetic_comparisons") / "train.jsonl"
    first = json.loads(path.read_text().splitlines()[0])

    def drop(rows):
        return [
            r for r in rows if (r["prompt_id"], r["label"]) != (first["prompt_id"], first["label"])
        ]

    change(path, drop)
    assert "labels: missing" in failed(context, "synthetic_comparisons")


def test_weights_of_the_wrong_sign_are_found(context):
    path = context.path("fitted_weights") / "report.json"

    def edit(report):
        report["comply"]["sign_violations"] = ["judgement"]
        return report

    change(path, edit)
    assert "sign_violations" in failed(context, "fitted_weights")


def test_a_collapsed_policy_is_found(context):
    own = Context(context.root, context.settings, "rbr")
    path = own.path("ppo_checkpoint", "rbr") / "metrics.json"
    change(path, lambda values: {**values, "kl_last": 1e9})
    assert "kl_last" in failed(own, "ppo_checkpoint")


def test_the_gain_is_that_of_the_halves():
    assert gain([1.5, 0.5, 1.0, 1.25]) == pytest.approx(0.125)
    assert gain([9.0, 0.0, 1.0, 0.0, 1.0]) == pytest.approx((0 + 1) / 2 - 9 / 2)
    assert gain([3.0]) == 0.0


def test_a_feature_that_is_missing_is_found(context):
    import pandas as pd

    path = context.path("graded_comparisons") / "train.parquet"
    frame = pd.read_parquet(path)
    frame.loc[frame.index[0], "class:ideal"] = None
    path.unlink()
    frame.to_parquet(path)
    assert "class:ideal" in failed(context, "graded_comparisons")


@pytest.mark.parametrize(
    ("difference", "limit", "fails"),
    [
        # Its interval holds 0: a tie.
        (Difference(-0.02, -0.06, 0.02), 0.0, False),
        (Difference(-0.2, -0.3, -0.1), 0.0, True),
        (Difference(-0.2, -0.3, -0.1), 0.15, False),
        (Difference(0.2, 0.1, 0.3), 0.0, False),
    ],
)
def test_a_policy_that_is_certainly_worse_than_the_champion_is_stopped(
    context, difference, limit, fails
):
    settings = context.settings.model_copy(
        update={"gates": context.settings.gates.model_copy(update={"f1_loss_max": limit})}
    )
    own = Context(context.root, settings, "rbr")
    part = predecessor(own, Champion("3", 0.9, difference))
    gate = evaluate(own, "safety_eval", [part])
    assert gate.passed is not fails
    assert ("champion 3" in " ".join(gate.failures)) is fails


def test_a_champion_of_other_prompts_is_compared_by_the_drop(context):
    settings = context.settings.model_copy(
        update={"gates": context.settings.gates.model_copy(update={"f1_drop_max": 0.1})}
    )
    own = Context(context.root, settings, "rbr")
    assert not evaluate(own, "safety_eval", [predecessor(own, Champion("3", 1.2, None))]).passed
    assert evaluate(own, "safety_eval", [predecessor(own, Champion("3", 0.0, None))]).passed
