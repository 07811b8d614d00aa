"""What is known of a grader without its model."""

import numpy as np

from rbr.grading.load import make_grader
from rbr.grading.options import GraderOptions
from rbr.grading.spread import card_of, head_card
from rbr.grading.yesno import FittedPrompt, save_prompts


def test_the_card_is_what_the_loaded_grader_says(head, tiny_model, head_grader, rules, tmp_path):
    save_prompts(tmp_path, {"apology": FittedPrompt("criteria", 2.0, 0.5, 0.3)})
    for options, folder in (
        (GraderOptions(engine="head"), head),
        (GraderOptions(engine="transformers"), tmp_path),
        (
            GraderOptions(engine="openai", address="http://127.0.0.1:1/v1", served_name="m"),
            tmp_path,
        ),
    ):
        grader = make_grader(options, rules, folder, tiny_model)
        card = card_of(options, rules, folder, tiny_model)
        assert card.propositions == grader.propositions
        assert np.array_equal(card.thresholds, grader.thresholds)
        assert card.identities == {name: grader.identity(name) for name in grader.propositions}
    assert head_card(head).identities["apology"] == head_grader.identity("apology")
