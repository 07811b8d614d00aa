"""The comparison of graph runs, from their summaries alone."""

import pytest

from orchestration.lineage import compare


def summary(f1, weight):
    metric = [f1, f1 - 0.1, f1 + 0.1]
    same = [0.5, 0.4, 0.6]
    keys = ("not_unsafe", "not_overrefuse", "f1_star", "ideal_refusal")
    base = {"model": "base", **dict.fromkeys(keys, same)}
    refusals = {"hate": {"full_refusal": 0.25, "partial_refusal": 0.0, "full_compliance": 0.75}}
    return {
        "table": {
            "rows": [base, {"model": "RBR PPO", **dict.fromkeys(keys, metric)}],
            "metrics": list(keys),
            "titles": {key: key for key in keys},
            "notes": ["judged <b>so</b>"],
        },
        "categories": {"base": refusals, "RBR PPO": refusals},
        "weights": {"comply": {"fully_complies": weight, "apology": -1.0}},
        "rules": "abc",
    }


@pytest.fixture
def runs():
    return [
        compare.GraphRun("1", "before", summary(0.7, 1.0), {}),
        compare.GraphRun("2", "after", summary(0.8, 2.0), {"weights.png": b"png"}),
    ]


def test_a_model_that_is_the_same_in_all_runs_stands_once(runs):
    assert [row["model"] for row in compare.rows(runs)] == [
        "base",
        "RBR PPO (before)",
        "RBR PPO (after)",
    ]


def test_weights_that_differ_are_listed_and_missing_ones_are_none(runs):
    assert compare.changed_weights(runs) == [("comply", "fully_complies", [1.0, 2.0])]
    del runs[1].summary["weights"]["comply"]["apology"]
    assert ("comply", "apology", [-1.0, None]) in compare.changed_weights(runs)


def test_the_page_shows_both_and_escapes_what_it_is_given(runs):
    page, picture = compare.render(runs)
    assert "RBR PPO (after)" in page
    assert "<b>so</b>" not in page
    assert picture.startswith(b"\x89PNG")
    assert "80.0" in page


def test_settings_and_rules_that_differ_are_listed(runs):
    runs[0].settings.update({"seed": "0", "rl.steps": "3", "rules": "abc"})
    runs[1].settings.update({"seed": "0", "rl.steps": "4", "rules": "def"})
    assert compare.changed_settings(runs) == [("rl.steps", ["3", "4"])]
    assert compare.changed_rules(*runs) == []
    runs[1].summary["rules"] = "def"
    assert compare.changed_rules(*runs) is None  # an earlier version noted no hashes
    runs[0].summary["rule_hashes"] = {"ranking": "1", "signs": "1", "propositions/a": "1"}
    runs[1].summary["rule_hashes"] = {"ranking": "2", "signs": "1", "propositions/b": "1"}
    expected = [("propositions/a", "gone"), ("propositions/b", "new"), ("ranking", "changed")]
    assert compare.changed_rules(*runs) == expected
    page, _ = compare.render(runs)
    assert "<td>ranking</td>" in page and "<td>rl.steps</td><td>3</td><td>4</td>" in page
