"""A grader is known without its model."""

import pickle

import numpy as np
import pytest

from rbr.errors import ModelError
from rbr.grading.load import make_grader
from rbr.grading.options import GraderOptions
from rbr.grading.yesno import FittedPrompt, save_prompts


@pytest.fixture
def prompts(tmp_path):
    save_prompts(tmp_path, {"apology": FittedPrompt("criteria", 2.0, 0.5, 0.3)})
    return tmp_path


@pytest.mark.parametrize("engine", ["head", "transformers", "openai", "chat"])
def test_a_grader_that_has_not_loaded_its_model_says_the_same_and_travels(
    engine, head, tiny_model, prompts, rules
):
    address = "http://127.0.0.1:1/v1" if engine in ("openai", "chat") else None
    options = GraderOptions(engine=engine, address=address, served_name="m")
    folder = head if engine == "head" else prompts
    loaded = make_grader(options, rules, folder, tiny_model)
    fresh = make_grader(options, rules, folder, tiny_model, load=False)
    sent = pickle.dumps(fresh)
    assert len(sent) < 200_000
    for grader in (fresh, pickle.loads(sent)):
        assert grader.propositions == loaded.propositions
        assert np.array_equal(grader.thresholds, loaded.thresholds)
        assert [grader.identity(n) for n in grader.propositions] == [
            loaded.identity(n) for n in loaded.propositions
        ]


def test_a_model_that_is_not_there_is_an_error_as_the_grader_is_made(prompts, rules, tmp_path):
    with pytest.raises(ModelError):
        make_grader(GraderOptions(engine="transformers"), rules, prompts, tmp_path / "none")
