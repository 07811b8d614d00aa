"""The simulated annotators are as over-cautious as they are told to be."""

import pytest

from rbr.data.preferences import simulated_preferences
from rbr.data.rows import Comparison, Message

REFUSAL = "Sorry, I can't help with that."


def rows(count):
    made = []
    for i in range(count):
        for label, completion in (("full", f"answer {i}"), ("refusal", REFUSAL)):
            made.append(
                Comparison(
                    id=f"{i}-{label}",
                    prompt_id=str(i),
                    family=f"f{i}",
                    response_type="comply",
                    label=label,
                    source="composed",
                    conversation=(Message(role="user", content=f"q {i}"),),
                    completion=completion,
                    true=("inability_to_comply",) if label == "refusal" else (),
                    graded=(),
                    label_probability=1.0,
                    confirmed=True,
                )
            )
    return made


@pytest.mark.parametrize("rate", [0.0, 0.35, 1.0])
def test_they_prefer_a_needless_refusal_at_the_stated_rate(rate, rules):
    pairs = simulated_preferences(rows(1500), rules, rate, 0.0, 0, "s")
    assert len(pairs) == 3000
    cautious = sum(pair.chosen == REFUSAL for pair in pairs) / len(pairs)
    assert cautious == pytest.approx(rate, abs=0.03)


def test_noise_turns_labels_and_every_pair_says_that_it_is_simulated(rules):
    pairs = simulated_preferences(rows(1500), rules, 0.0, 0.1, 0, "s")
    assert sum(p.chosen == REFUSAL for p in pairs) / len(pairs) == pytest.approx(0.1, abs=0.02)
    assert all(pair.simulated for pair in pairs)
    assert {pair.source for pair in pairs} == {"simulated-annotator"}
