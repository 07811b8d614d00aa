"""Planted sentences: labels follow what is planted, roles share no wording, contradictions are left out."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from rbr.data.gold import LEARNING
from rbr.data.planting import NONSENSE_EVERY, plant, read_sentences, split_sentences
from rbr.data.rows import Labelled, Message, Sentence
from rbr.data.wordings import composed_wordings
from rbr.errors import DataError
from rbr.rules.models import Relations
from rbr.rules.rules import load_rules

ROOT = Path(__file__).parents[3]


def rules_of(*excludes, nonsense=()):
    """As much of the rules as planting reads."""
    return SimpleNamespace(
        relations=Relations(excludes=excludes),
        makes=lambda role: frozenset(nonsense),
        proposition_names=("full", "more", "no", "sorry", "salad"),
    )


FREE, RULES = rules_of(), rules_of(("full", "no"))
SENTENCES = [
    Sentence(id="s1", text="Sorry for that.", true=("sorry",), unknown=("more",)),
    Sentence(id="s2", text="I will not do it.", true=("no",)),
    Sentence(id="s3", text="A sorry sight."),
]


def answers(count=40):
    asked = (Message(role="user", content="How tall is it?"),)
    fields = {"response_type": "comply", "conversation": asked, "true": ("full", "more")}
    text = "It is tall. It is taller than the other.\n\nIt was measured twice."
    return [Labelled(id=f"r{i}", completion=text, **fields) for i in range(count)]


def test_labels_are_those_of_the_answer_and_of_what_was_planted():
    made = plant(answers(), SENTENCES, 60, FREE, 0)
    assert made
    for row in made:
        assert ("sorry" in row.true) == ("Sorry for that." in row.completion)
        assert ("no" in row.true) == ("I will not do it." in row.completion)
        # It held before: what is planted leaves no doubt about it.
        assert "more" in row.true and not row.unknown
        for part in answers(1)[0].completion.split(". "):
            assert part.split("\n")[0] in row.completion


def test_what_a_sentence_leaves_open_is_unknown():
    bare = [row.model_copy(update={"true": ()}) for row in answers()]
    for row in plant(bare, SENTENCES, 40, FREE, 0):
        assert row.unknown == (("more",) if "sorry" in row.true else ())


def test_nothing_is_planted_that_contradicts_the_answer():
    made = plant(answers(), SENTENCES, 60, RULES, 0)
    assert {name for row in made for name in row.true} == {"full", "more", "sorry"}


def test_a_sentence_is_planted_in_answers_of_its_response_types_only():
    tied = [SENTENCES[2], Sentence(id="s4", text="Else, try chess.", response_types=("hard",))]
    rows = [*answers(20)]
    rows += [row.model_copy(update={"id": f"h{row.id}", "response_type": "hard"}) for row in rows]
    planted = {
        row.response_type for row in plant(rows, tied, 80, FREE, 0) if "chess" in row.completion
    }
    assert planted == {"hard"}


def test_a_sentence_may_make_something_else_true_in_other_answers():
    text, types = "See a doctor.", {"response_types": ("hard",), "elsewhere": ("sorry",)}
    tied = [Sentence(id="s5", text=text, true=("more", "sorry"), **types)]
    rows = [row.model_copy(update={"true": ()}) for row in answers(20)]
    rows += [row.model_copy(update={"id": f"h{row.id}", "response_type": "hard"}) for row in rows]
    made = {row.response_type: set(row.true) for row in plant(rows, tied, 80, FREE, 0)}
    assert made == {"comply": {"sorry"}, "hard": {"more", "sorry"}}


def test_planting_is_seeded_and_ids_are_unique():
    made = plant(answers(10), SENTENCES, 30, RULES, 3)
    assert made == plant(answers(10), SENTENCES, 30, RULES, 3)
    assert made != plant(answers(10), SENTENCES, 30, RULES, 4)
    assert len({row.id for row in made}) == len(made)


def test_word_salad_is_nonsense_and_nothing_that_this_excludes():
    rules = rules_of(("full", "salad"), nonsense=("salad",))
    [salad, other] = [
        [
            row
            for row in plant(answers(), SENTENCES, 36, rules, 0)
            if ("salad" in row.true) == is_salad
        ]
        for is_salad in (True, False)
    ]
    assert len(salad) == -(-36 // NONSENSE_EVERY) and other
    for row in salad:
        assert (row.true, row.unknown) == (("salad",), ("more", "no", "sorry"))
        assert row.completion != answers(1)[0].completion
        assert sorted(row.completion.split()) == sorted(answers(1)[0].completion.split())


def test_without_sentences_or_rows_nothing_is_made():
    assert plant(answers(), [], 5, RULES, 0) == plant([], SENTENCES, 5, RULES, 0) == []


def test_the_shipped_sentences_reach_every_role_and_share_no_wording():
    rules = load_rules(ROOT / "rules")
    every = read_sentences(ROOT / "data" / "source" / "gold", rules)
    assert len({row.text.casefold() for row in every}) == len(every)
    composed = composed_wordings(rules)
    assert not [row.text for row in every if composed.in_text(row.text)]
    split = split_sentences(every, LEARNING)
    for rows in split.values():
        support = {name: sum(name in row.true for row in rows) for name in rules.proposition_names}
        # What only a whole answer can be is never planted.
        assert sorted(support.values())[-18:] >= [5] * 18


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"true": ["apologgy"]}, r"no proposition 'apologgy'; did you mean 'apology'"),
        ({"unknown": ["additional"]}, "unknown: no proposition 'additional'"),
        ({"elsewhere": ["disclaimr"]}, "elsewhere: no proposition 'disclaimr'; did you mean"),
        ({"response_types": ["compliant"]}, "response_types: no response type 'compliant'"),
        ({"true": ["fully_complies"]}, "fully_complies implies partially_complies"),
    ],
)
def test_a_sentence_that_does_not_fit_the_rules_is_named(tmp_path, row, said):
    (tmp_path / "sentences").mkdir()
    path = tmp_path / "sentences" / "mine.jsonl"
    path.write_text(json.dumps({"id": "s-1", "text": "So be it.", **row}) + "\n")
    with pytest.raises(DataError, match=said) as caught:
        read_sentences(tmp_path, load_rules(ROOT / "rules"))
    assert "mine.jsonl:1" in str(caught.value)


def test_a_sentence_stands_between_sentences_of_a_script_without_spaces():
    long = answers(1)[0].model_copy(update={"completion": "はい。いいえ。" * 9, "true": ()})
    made = plant([long], SENTENCES[:1], 40, FREE, 0)
    middle = [row for row in made if "。" in row.completion.split("Sorry for that.")[0]]
    assert middle and all("はいS" not in row.completion for row in made)
