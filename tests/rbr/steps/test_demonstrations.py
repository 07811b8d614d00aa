"""What the variants' SFT learns from."""

import random
from collections import Counter

import pytest

from rbr.data.rows import Message
from pipeline.profile import SFT, Settings
from rbr.steps import Context, sft_checkpoint
from rbr.steps.sft_checkpoint import evenly, shares


@pytest.mark.parametrize("count", [0, 1, 5, 12, 100])
def test_refusals_are_drawn_evenly_and_a_small_group_again_and_again(count):
    groups = [
        [(f"{name}{i}", "no") for i in range(size)] for name, size in (("hard", 50), ("soft", 4))
    ]
    drawn = Counter(talk for talk, _ in evenly(groups, count, random.Random(0)))
    by_group = Counter(dict.fromkeys(("hard", "soft"), 0))
    for talk, times in drawn.items():
        by_group[talk[:4]] += times
    assert sum(by_group.values()) == count
    assert abs(by_group["hard"] - by_group["soft"]) <= 1
    for name in ("hard", "soft"):
        times = [n for talk, n in drawn.items() if talk.startswith(name)]
        # None a second time before all of its group had their first.
        assert max(times, default=0) <= -(-by_group[name] // (50 if name == "hard" else 4))


def test_without_refusals_to_learn_from_there_are_none():
    assert evenly([], 10, random.Random(0)) == []


@pytest.mark.parametrize(
    "written, found", [(1000, (80, 20)), (80, (80, 20)), (40, (40, 10)), (0, (0, 0))]
)
def test_the_share_of_answers_holds_where_they_run_out(written, found):
    assert shares(SFT(safety_demos=100, comply_share=0.8), written) == found


def test_with_no_answers_wanted_all_are_refusals():
    assert shares(SFT(safety_demos=10, comply_share=0.0), 5) == (0, 10)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Runs the step for a variant on made-up demonstrations; says which variants were really trained."""
    from rbr.training import launch

    base = tmp_path / "models" / "base_model"
    base.mkdir(parents=True)
    (base / "model.safetensors").write_bytes(b"base")
    made = []

    def launched(name, context, scratch, folder):
        made.append(context.variant)
        (folder / "model.safetensors").write_bytes(f"{name} {len(made)}".encode())
        return {"loss_first": 2.0, "loss_last": 1.0}

    monkeypatch.setattr(launch, "launched", launched)
    own = {"human": "yes", "rbr": "no", "human_rbr": "no"}
    monkeypatch.setattr(
        sft_checkpoint,
        "demonstrations",
        lambda c: [((Message(role="user", content="q"),), own[c.variant])],
    )

    def run(variant, **sft):
        context = Context(tmp_path, Settings(sft=SFT(**sft)), variant)
        assert sft_checkpoint.run(context) == {"loss_first": 2.0, "loss_last": 1.0}
        return context.path("sft_checkpoint", variant) / "model.safetensors", list(made)

    return run


def test_a_variant_that_learns_from_the_same_takes_the_model(trained):
    first, _ = trained("rbr")
    trained("human")
    second, made = trained("human_rbr")
    assert made == ["rbr", "human"]
    assert second.read_bytes() == first.read_bytes()


def test_a_model_of_other_settings_or_that_was_changed_is_not_taken(trained):
    first, _ = trained("rbr")
    assert trained("human_rbr", learning_rate=0.5)[1] == ["rbr", "human_rbr"]
    first.write_bytes(b"touched")
    assert trained("human_rbr")[1] == ["rbr", "human_rbr", "human_rbr"]
    # Its base model is another by now.
    second, _ = trained("rbr")
    (second.parents[2] / "base_model" / "model.safetensors").write_bytes(b"other")
    assert trained("human_rbr")[1][-1] == "human_rbr"
