"""Fitting logistic heads."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rbr.errors import DataError
from rbr.grading.heads import Heads, fit_heads

NAMES = ("easy", "noise")


def data(seed=0, n=240):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 6))
    labels = np.stack([x[:, 0] + 0.3 * x[:, 1] > 0, random.random(n) > 0.5], axis=1).astype(float)
    return x, labels, [f"g{i // 2}" for i in range(n)]


def test_what_can_be_learnt_is_and_noise_is_not():
    x, labels, groups = data()
    heads = fit_heads(x, labels, groups, NAMES, (0.003, 0.1))
    fresh, truth, _ = data(1)
    right = ((heads.probabilities(fresh) >= 0.5) == truth).mean(0)
    assert right[0] > 0.9
    assert 0.35 < right[1] < 0.65


def test_rows_of_weight_zero_do_not_count():
    x, labels, groups = data()
    weights = np.ones_like(labels)
    weights[:120, 0] = 0.0
    spoilt = labels.copy()
    spoilt[:120, 0] = 1 - spoilt[:120, 0]
    heads = fit_heads(x, spoilt, groups, NAMES, (0.01,), sample_weight=weights)
    fresh, truth, _ = data(1)
    assert ((heads.probabilities(fresh)[:, 0] >= 0.5) == truth[:, 0]).mean() > 0.9


def test_saved_heads_answer_the_same(tmp_path):
    x, labels, groups = data()
    heads = fit_heads(x, labels, groups, NAMES, (0.01,))
    heads.save(tmp_path, {"layer": 3})
    loaded, about = Heads.load(tmp_path)
    assert about == {"layer": 3}
    np.testing.assert_allclose(loaded.probabilities(x), heads.probabilities(x), atol=1e-5)


def test_a_rare_proposition_is_said_from_its_threshold_on():
    random = np.random.default_rng(3)
    n = 400
    labels = (random.random((n, 1)) < 0.08).astype(float)
    x = random.normal(size=(n, 4))
    x[:, 0] += 2.0 * labels[:, 0]
    heads = fit_heads(x, labels, [str(i) for i in range(n)], ("rare",), (0.01,))
    assert heads.threshold[0] < 0.5
    p = heads.probabilities(x)[:, 0]
    yes = labels[:, 0] > 0
    recall = {cut: (p[yes] >= cut).mean() for cut in (0.5, heads.threshold[0])}
    assert recall[heads.threshold[0]] > recall[0.5]
    # Accuracy is hardly paid for it.
    right = {cut: ((p >= cut) == yes).mean() for cut in (0.5, heads.threshold[0])}
    assert right[heads.threshold[0]] > right[0.5] - 0.05


def test_heads_of_another_version_are_refused_in_one_line(tmp_path):
    x, labels, groups = data()
    fit_heads(x, labels, groups, NAMES, (0.01,)).save(tmp_path, {})
    arrays = load_file(str(tmp_path / "head.safetensors"))
    del arrays["threshold"]
    save_file(arrays, str(tmp_path / "head.safetensors"))
    with pytest.raises(DataError, match=r"threshold.*make the artifact again"):
        Heads.load(tmp_path)
