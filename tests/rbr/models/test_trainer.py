"""What trainings report, and what they save and resume from."""

import logging
import pickle

import pytest
from safetensors.torch import load_file

from rbr.models.load import load_causal
from rbr.models.trainer import MetricsCallback, last_checkpoint, run_training, save_model
from tests.rbr.training.toy import made, trainer_of


class Recorder:
    """Keeps what a training hands over."""

    def __init__(self):
        self.rows = []

    def __call__(self, values, step):
        self.rows.append((step, dict(values)))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return made(tmp_path_factory.mktemp("trainer"))


def trained(tiny, folder, updates, **changes):
    """A finished training and what it recorded; resumes from ``folder``."""
    record = Recorder()
    arguments = {
        "trained_layers": 1,
        "save_strategy": "steps",
        "save_steps": 4,
        "max_steps": updates,
    }
    trainer = trainer_of(tiny, folder, **{**arguments, **changes})
    run_training(trainer, "toy", [MetricsCallback(record, "ppo")])
    return trainer, record.rows


def test_a_resumed_training_reports_its_whole_curve_and_says_where_it_resumes(
    tiny, tmp_path, caplog, capsys
):
    caplog.set_level(logging.INFO, logger="rbr")
    _, first = trained(tiny, tmp_path, 4)
    assert [step for step, values in first if "ppo/loss" in values] == [2, 4]
    assert not any("resuming" in message for message in caplog.messages)
    _, whole = trained(tiny, tmp_path, 6)
    assert "toy: resuming from checkpoint-4" in caplog.messages
    curve = [row for row in whole if "ppo/loss" in row[1]]
    assert [step for step, _ in curve] == [2, 4, 6]
    assert curve[:2] == [row for row in first if "ppo/loss" in row[1]]
    assert not any(name.endswith("/step") for _, values in whole for name in values)
    assert any(m.startswith("toy: update 6/6, loss ") for m in caplog.messages)
    assert "{'loss'" not in capsys.readouterr().out


def test_the_callback_crosses_to_another_process():
    callback = pickle.loads(pickle.dumps(MetricsCallback(Recorder(), "sft")))
    state = type("State", (), {"global_step": 3, "is_world_process_zero": True})
    callback.on_log(None, state, None, logs={"loss": 1, "note": "text"})
    assert callback._record.rows == [(3, {"sft/loss": 1.0})]


def test_only_the_main_process_reports():
    record = Recorder()
    state = type("State", (), {"global_step": 3, "is_world_process_zero": False})
    MetricsCallback(record, "sft").on_log(None, state, None, logs={"loss": 1})
    assert record.rows == []


def test_a_checkpoint_holds_what_is_trained_and_the_saved_model_the_policy_alone(
    tiny, tmp_path, caplog
):
    trainer, _ = trained(tiny, tmp_path / "run", 4)
    kept = load_file(last_checkpoint(tmp_path / "run") + "/model.safetensors")
    trainable = {name for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert set(kept) == trainable
    resumed, _ = trained(tiny, tmp_path / "run", 6)
    assert not any("missing keys" in message for message in caplog.messages)
    save_model(resumed, resumed.processing_class, tmp_path / "model")
    saved = load_causal(tmp_path / "model").state_dict()
    expected = resumed.model.policy.state_dict()
    assert saved.keys() == expected.keys()
    assert all((saved[name] == expected[name]).all() for name in saved)


def test_a_checkpoint_that_was_being_written_is_passed_over(tmp_path):
    assert last_checkpoint(tmp_path / "nothing") is None
    for step in (2, 8, 16):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert last_checkpoint(tmp_path) is None
    for step in (2, 8):
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-8")
    (tmp_path / "checkpoint-16" / "trainer_state.json").write_text("{}")
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-16")
