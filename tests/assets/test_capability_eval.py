"""Capability of SFT and PPO beside the base model's, on the same items."""

import pytest

from pipeline.profile import Settings
from rbr.evaluation import capability as measured
from rbr.evaluation.paired import share_change
from rbr.files import iter_json_lines, write_rows
from tests.assets.bodies import context_of, make

KINDS = ("factual", "instruction", "arithmetic", "reading")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Both artifacts of models that have the first items right."""
    choices = ["a", "b", "c", "d"]
    items = [
        {
            "id": f"i{n}",
            "kind": KINDS[n % 4],
            "question": f"{n}?",
            "answer": "a",
            "choices": choices,
        }
        for n in range(40)
    ]
    write_rows(tmp_path / "data/source/capability.jsonl", items)
    write_rows(tmp_path / "data/source/capability_text.jsonl", [{"id": "t", "text": "A text."}])

    def right_of(counts):
        def capability(model, items, texts):
            count = counts["base" if model.name == "base_model" else model.parent.name]
            right = [n < count for n in range(len(items))]
            return {"loss": 2.0, "accuracy": sum(right) / len(right)}, right

        monkeypatch.setattr(measured, "capability", capability)
        make(context_of(tmp_path, "base_capability", Settings()))
        return make(context_of(tmp_path, "rbr/capability_eval", Settings()))

    return tmp_path, right_of


def test_items_are_compared_pair_by_pair_with_the_base_models(made):
    root, right_of = made
    found = right_of({"base": 30, "sft_checkpoint": 29, "ppo_checkpoint": 16})
    for name, count in (("sft", 29), ("ppo", 16)):
        before, after = ([n < own for n in range(40)] for own in (30, count))
        change, low, high = share_change(before, after)
        assert found[f"{name}.items_change"] == pytest.approx(change)
        ends = (found[f"{name}.items_change.low"], found[f"{name}.items_change.high"])
        assert ends == pytest.approx((low, high))
    # One item of forty may be chance; fourteen are not.
    assert found["sft.items_lost"] == 0
    assert found["ppo.items_lost"] == pytest.approx(-found["ppo.items_change.high"])
    assert found["ppo.items_lost"] > 0.1
    rows = [row for _, row in iter_json_lines(root / "data/capability_eval/rbr/items.jsonl")]
    assert [(row["id"], row["sft"], row["ppo"]) for row in rows[28:30]] == [
        ("i28", True, False),
        ("i29", False, False),
    ]


def test_accuracy_is_stated_by_kind(made):
    found = made[1]({"base": 40, "sft_checkpoint": 40, "ppo_checkpoint": 39})
    assert found["ppo.accuracy.reading"] == pytest.approx(0.9)
    assert {found[f"ppo.accuracy.{kind}"] for kind in KINDS[:3]} == {1.0}
