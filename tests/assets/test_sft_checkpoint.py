"""Supervised fine-tuning: variants that learn from the same share one model."""

import pytest

from assets import sft_checkpoint
from pipeline.profile import Settings
from rbr.data.rows import Message
from rbr.training.options import SFTOptions
from tests.assets.bodies import context_of, make

LOSSES = {"loss_first": 2.0, "loss_last": 1.0}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Makes a variant's model; returns it, and the variants that were really trained."""
    base = tmp_path / "models" / "base_model"
    base.mkdir(parents=True)
    (base / "model.safetensors").write_bytes(b"base")
    variants = []

    def train(context, function, prefix, target, **_):
        variants.append(context.artifact.variant.name)
        (target / "model.safetensors").write_bytes(f"{len(variants)}".encode())
        return LOSSES

    answers = {"human": "yes", "rbr": "no", "human_rbr": "no"}

    def chosen(context):
        question = (Message(role="user", content="q"),)
        return [(question, answers[context.artifact.variant.name])]

    monkeypatch.setattr(sft_checkpoint, "train", train)
    monkeypatch.setattr(sft_checkpoint, "chosen_demonstrations", chosen)

    def run(variant, **options):
        settings = Settings(sft=SFTOptions(**options))
        context = context_of(tmp_path, f"{variant}/sft_checkpoint", settings)
        assert make(context) == LOSSES
        return context.folder / "model.safetensors", list(variants)

    return run


def test_a_variant_that_learns_from_the_same_takes_the_model(trained):
    first, _ = trained("rbr")
    trained("human")
    second, variants = trained("human_rbr")
    assert variants == ["rbr", "human"]
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
