"""The simulated annotators are as over-cautious as they are told to be."""

import pytest

from rbr.data.preferences import REFUSALS, pairs_from_prompts, simulated_preferences
from rbr.data.rows import Comparison, Message, Prompt

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


def prompts(answer, partial="In part.", language=None, count=40, asked="What is q {}?"):
    return [
        Prompt(
            id=f"p{i}",
            family=f"f{i}",
            category="none",
            kind="plain",
            conversation=(Message(role="user", content=asked.format(i)),),
            topic="a thing",
            answer=answer.format(i),
            partial=partial,
            language=language,
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("answer", ["Yes.", "No.", "It is {}."])
def test_the_worse_answer_is_another_one_even_where_answers_are_alike(answer):
    pairs = pairs_from_prompts(prompts(answer), 0)
    assert len(pairs) == 40
    assert {pair.rejected for pair in pairs} - {"In part."} - {pair.chosen for pair in pairs}


@pytest.mark.parametrize(
    ("asked", "language", "some"),
    [
        ("¿Qué es {}?", "en", True),
        ("¿Qué es {}?", "es", False),
        ("¿Qué es {}?", None, False),
        ("Was ist {}?", None, False),
        ("{}とは何ですか。", None, False),
        ("What is {}?", None, True),
        ("What is {}?", "es", False),
    ],
)
def test_english_refusals_are_only_of_prompts_in_english(asked, language, some):
    pairs = pairs_from_prompts(prompts("Es {}.", "En parte.", language, asked=asked), 0)
    assert any(pair.rejected in REFUSALS for pair in pairs) == some
    [alone] = pairs_from_prompts(prompts("Es así.", "En parte.", "es", 1), 0)
    assert alone.rejected == "En parte."


def test_those_that_name_no_language_are_in_that_of_most_of_them():
    several = prompts("It is {}.", "In part.") + [
        prompt.model_copy(update={"id": f"x{prompt.id}", "family": f"x{prompt.family}"})
        for prompt in prompts("42", "4", asked="Q {}?", count=20)
    ]
    pairs = pairs_from_prompts(several, 0)
    assert any(p.rejected in REFUSALS for p in pairs if p.id.startswith("from-x"))
