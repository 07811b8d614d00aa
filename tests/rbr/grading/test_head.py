"""Heads: their calibration, thresholds and files."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rbr.errors import DataError
from rbr.grading.head import Heads, calibrated

NAMES = ("sure", "noise")


def data(seed=0, n=400):
    """Features, of which the first tells the first label; the second label is chance."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 6))
    labels = np.stack([x[:, 0] + 0.3 * x[:, 1] > 0, random.random(n) > 0.5], axis=1).astype(float)
    return x, labels


def overconfident(x, labels):
    """Heads whose raw scores are ten times too large."""
    weight = np.zeros((2, x.shape[1]))
    weight[:, 0] = 10.0
    return calibrated(weight, np.zeros(2), x, labels, NAMES)


def test_what_says_nothing_is_flattened_and_what_tells_stays():
    heads = overconfident(*data())
    fresh, truth = data(1)
    p = heads.probabilities(fresh)
    assert ((p >= 0.5) == truth).mean(0)[0] > 0.85
    loss = -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean(0)
    # Chance has log 2; a head that is sure of nothing has hardly more.
    assert loss[1] < 0.8
    assert loss[0] < 0.4


def test_saved_heads_answer_the_same(tmp_path):
    x, labels = data()
    heads = overconfident(x, labels)
    heads.save(tmp_path, {"layers": 3})
    loaded = Heads.load(tmp_path)
    assert json.loads((tmp_path / "head.json").read_text())["layers"] == 3
    np.testing.assert_allclose(loaded.probabilities(x), heads.probabilities(x), atol=1e-5)


def test_a_rare_proposition_is_said_from_its_threshold_on():
    random = np.random.default_rng(3)
    n = 400
    labels = (random.random((n, 1)) < 0.08).astype(float)
    x = random.normal(size=(n, 4))
    x[:, 0] += 2.0 * labels[:, 0]
    weight = np.array([[1.0, 0, 0, 0]])
    heads = calibrated(weight, np.zeros(1), x, labels, ("rare",))
    assert heads.threshold[0] < 0.5
    p = heads.probabilities(x)[:, 0]
    yes = labels[:, 0] > 0
    recall = {cut: (p[yes] >= cut).mean() for cut in (0.5, heads.threshold[0])}
    assert recall[heads.threshold[0]] > recall[0.5]
    # Accuracy is hardly paid for it.
    right = {cut: ((p >= cut) == yes).mean() for cut in (0.5, heads.threshold[0])}
    assert right[heads.threshold[0]] > right[0.5] - 0.05


def test_heads_of_another_version_are_refused_in_one_line(tmp_path):
    overconfident(*data()).save(tmp_path, {})
    arrays = load_file(str(tmp_path / "head.safetensors"))
    del arrays["threshold"]
    save_file(arrays, str(tmp_path / "head.safetensors"))
    with pytest.raises(DataError, match=r"threshold.*make the artifact again"):
        Heads.load(tmp_path)
