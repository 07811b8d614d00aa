"""Policy optimisation: from which checkpoint it resumes, and its gate's gain."""

import pytest
from scipy.stats import ttest_ind

from assets import ppo_checkpoint
from assets.ppo_checkpoint import reward_gain
from rbr.files import write_rows
from tests.assets.bodies import context_of, make


@pytest.fixture
def inputs(tmp_path):
    """What the body reads, each file of its own bytes."""
    models = ("helpful_reward_model", "sft_checkpoint/rbr")
    files = [f"models/{name}/model.safetensors" for name in models]
    for file in (*files, "data/fitted_weights/weights.json"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text(file)
    for file in ("safety_prompts/train", "helpful_preferences/prompts"):
        write_rows(tmp_path / "data" / f"{file}.jsonl", [])
    return tmp_path


@pytest.mark.parametrize(
    "changed",
    [
        "models/helpful_reward_model/model.safetensors",
        "data/fitted_weights/weights.json",
        "models/sft_checkpoint/rbr/model.safetensors",
    ],
)
def test_a_killed_training_does_not_resume_with_another_start_or_reward(
    inputs, monkeypatch, changed
):
    folders = []

    def killed(context, function, prefix, checkpoints, **_):
        folders.append(checkpoints)
        raise KeyboardInterrupt

    monkeypatch.setattr(ppo_checkpoint, "train", killed)
    for text in (None, "other", None):
        if text:
            (inputs / changed).write_text(text)
        with pytest.raises(KeyboardInterrupt):
            make(context_of(inputs, "rbr/ppo_checkpoint"))
        assert folders[-1].is_dir()
    assert folders[0] != folders[1] == folders[2]
    assert not folders[0].exists()


def test_the_gain_is_that_of_the_halves():
    assert reward_gain([1.5, 0.5, 1.0, 1.25])[0] == pytest.approx(0.125)
    assert reward_gain([9.0, 0.0, 1.0, 0.0, 1.0])[0] == pytest.approx((0 + 1) / 2 - 9 / 2)
    assert reward_gain([3.0]) == (0.0, 0.0)


def test_the_gains_upper_end_is_welchs():
    earlier, later = [2.6, 0.8, 1.9, 3.3], [2.4, 1.2, 1.7, 2.2]
    found = ttest_ind(later, earlier, equal_var=False)
    gain, high = reward_gain([*earlier, *later])
    assert high == pytest.approx(gain + 1.96 * gain / found.statistic)
    # Falling by chance passes, falling for certain does not.
    assert high > 0
    assert reward_gain([9.0, 9.1, 9.2, 1.0, 1.1, 0.9])[1] < 0
