"""Fine-tuning: it learns, is seeded, goes on from a checkpoint, and its grader's identity is its weights'."""

import logging
import random
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rbr.data.rows import Labelled, Message, label_matrix
from rbr.grading.encoder import first_layers
from rbr.grading.head import HeadGrader
from rbr.grading.options import TuningOptions
from rbr.grading.tune import fine_tune, training_order, validation_part
from rbr.models.load import load_encoder

NAMES = ("apology", "requests_information")
OPTIONS = TuningOptions(layers=2, epochs=8, learning_rate=2e-3, batch_size=8)


def rows(seed=0, n=200):
    draw = random.Random(seed)
    topics = ["locks", "bread", "cars", "rain", "tax", "songs"]
    made = []
    for i in range(n):
        true = [name for name in NAMES if draw.random() < 0.4]
        topic = draw.choice(topics)
        parts = [f"About {topic} there is much to say."]
        if "apology" in true:
            parts.insert(0, "I'm so sorry.")
        if "requests_information" in true:
            parts.append("What do you want to know?")
        asked = (Message(role="user", content=f"Tell me about {topic}, {i // 2}"),)
        row = {"conversation": asked, "completion": " ".join(parts), "true": tuple(true)}
        made.append(Labelled(id=f"r{i}", response_type="comply", **row))
    return made


def tune(tiny, folder, seed=0, **changed):
    folder.mkdir(exist_ok=True)
    return fine_tune(tiny, rows(), NAMES, OPTIONS.model_copy(update=changed), folder, seed)


@pytest.fixture(scope="module")
def tuned(tiny, tmp_path_factory):
    return tune(tiny, tmp_path_factory.mktemp("scratch"))


@pytest.fixture
def saved(tuned, tmp_path):
    folder = tmp_path / "grader"
    folder.mkdir()
    tuned.save(folder, {})
    return folder


def test_what_is_written_in_the_answer_is_learnt(saved, tiny):
    fresh = rows(seed=7)
    grader = HeadGrader(saved, tiny)
    p = grader.grade([row.conversation for row in fresh], [row.completion for row in fresh])
    labels = label_matrix([row.true for row in fresh], NAMES)
    assert ((p >= grader.thresholds) == labels).mean() > 0.9


def test_the_same_seed_gives_the_same_grader(tuned, tiny, tmp_path):
    again = tune(tiny, tmp_path / "again")
    np.testing.assert_array_equal(again.heads.weight, tuned.heads.weight)


def test_frozen_layers_stay_as_they_came(tiny, tmp_path):
    made = tune(tiny, tmp_path, trained_layers=1)
    before = first_layers(load_encoder(tiny), OPTIONS.layers).state_dict()
    changed = {
        name for name, value in made.backbone.state_dict().items() if (value != before[name]).any()
    }
    last = len(made.backbone.layers) - 1
    assert last > 0
    assert changed
    assert all(name.startswith((f"layers.{last}.", "norm.")) for name in changed)


def test_a_stopped_training_resumes_from_its_checkpoint(tiny, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="rbr")
    for _ in range(2):
        tune(tiny, tmp_path)
    assert any("resuming from checkpoint" in message for message in caplog.messages)


def test_other_weights_of_the_backbone_are_another_identity(saved, tiny):
    before = HeadGrader(saved, tiny).identity("apology")
    assert HeadGrader(saved, tiny).identity("apology") == before
    other = saved.with_name("other")
    shutil.copytree(saved, other)
    path = other / "backbone" / "model.safetensors"
    arrays = load_file(str(path))
    name = next(name for name in arrays if "norm" in name)
    arrays[name] = arrays[name] + 0.01
    save_file(arrays, str(path), metadata={"format": "pt"})
    assert HeadGrader(other, tiny).identity("apology") != before


def test_rows_kept_for_calibration_share_no_conversation_with_those_trained_on():
    own = rows()
    kept = validation_part(own, 0.25, seed=3)
    asked = np.array([row.conversation[-1].content for row in own])
    assert 0 < kept.sum() < len(own) / 2
    assert not set(asked[kept]) & set(asked[~kept])


def test_each_row_comes_every_pass_in_batches_of_like_length():
    draw = random.Random(1)
    lengths = [draw.randint(5, 200) for _ in range(200)]
    order = training_order(range(100), lengths, OPTIONS, seed=0)
    assert (np.bincount(order, minlength=100) == OPTIONS.epochs).all()
    size = OPTIONS.batch_size
    own = [[lengths[i] for i in order[k : k + size]] for k in range(0, len(order) - size, size)]
    spread = np.mean([max(batch) - min(batch) for batch in own])
    assert spread < 0.3 * (max(lengths) - min(lengths))
    # Long batches and short ones take turns.
    means = np.array([np.mean(batch) for batch in own])
    assert abs(np.corrcoef(np.arange(16), means[:16])[0, 1]) < 0.7


def test_keeping_what_frozen_layers_say_changes_no_head(tiny, tmp_path):
    kept = tune(tiny, tmp_path / "kept", trained_layers=1, epochs=1)
    again = tune(tiny, tmp_path / "again", trained_layers=1, epochs=1, kept_states=0.0)
    # Up to the rounding of what is kept, to eight bits.
    np.testing.assert_allclose(kept.heads.weight, again.heads.weight, atol=2e-3)
    assert np.abs(kept.heads.weight).max() > 0.03
