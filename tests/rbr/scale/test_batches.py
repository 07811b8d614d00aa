"""Work in this process, and what is known of a grader without its model."""

import subprocess
import sys

import numpy as np
import pytest

from rbr.evaluation.generate import generate
from rbr.grading.load import make_grader
from rbr.grading.yesno import FittedPrompt, save_prompts
from rbr.scale import run_batches
from rbr.scale.graders import card_of, head_card
from rbr.settings import Grader, Scale


def test_without_an_address_batches_are_worked_on_here_and_in_order():
    made = []

    def make():
        made.append(1)
        return lambda batch: batch * 2

    assert list(run_batches(make, [3, 1, 2], Scale())) == [(0, 6), (1, 2), (2, 4)]
    assert list(run_batches(make, [], Scale())) == []
    assert made == [1]


def test_without_an_address_ray_is_not_imported(root):
    code = (
        "import sys; from rbr.scale import run_batches;"
        "list(run_batches(lambda: abs, [1, 2])); import rbr.steps.common, orchestration.definitions;"
        "sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_the_card_is_what_the_loaded_grader_says(head, tiny_model, head_grader, rules, tmp_path):
    save_prompts(tmp_path, {"apology": FittedPrompt("criteria", 2.0, 0.5, 0.3)})
    for settings, folder in (
        (Grader(engine="head"), head),
        (Grader(engine="transformers"), tmp_path),
        (Grader(engine="openai", address="http://127.0.0.1:1/v1", served_name="m"), tmp_path),
    ):
        grader = make_grader(settings, rules, folder, tiny_model)
        card = card_of(settings, rules, folder, tiny_model)
        assert card.propositions == grader.propositions
        assert np.array_equal(card.thresholds, grader.thresholds)
        assert card.identities == {name: grader.identity(name) for name in grader.propositions}
    assert head_card(head).identities["apology"] == head_grader.identity("apology")


@pytest.mark.parametrize("seed", [None, 5])
def test_a_killed_generation_goes_on_to_the_same_answers(answers, tiny_model, tmp_path, seed):
    talks = answers[0][:12]
    kept = tmp_path / "kept.jsonl"
    whole = generate(tiny_model, talks, 6, 4, kept, sample_seed=seed)
    lines = kept.read_text().splitlines()
    assert len(lines) == 12
    kept.write_text("\n".join(lines[:4]) + '\n{"index": 9, "compl')
    assert generate(tiny_model, talks, 6, 4, kept, sample_seed=seed) == whole
