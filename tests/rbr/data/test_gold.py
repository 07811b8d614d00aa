"""Gold rows: which go to one role, and which names they may have."""

import pytest

from rbr.data.gold import GoldOptions, labelled_rows, split_gold
from rbr.data.rows import Labelled, Message
from rbr.errors import DataError
from rbr.files import write_rows


def gold(number, *before, asked=None, **fields):
    talk = (*before, Message(role="user", content=asked or f"question {number}"))
    values = {"response_type": "comply", "completion": "a", "true": (), **fields}
    return Labelled(id=f"g{number}", conversation=talk, **values)


SYSTEM = Message(role="system", content="You work for a bank.")


@pytest.mark.parametrize("before", [(), (SYSTEM,)])
def test_one_system_turn_before_all_rows_keeps_none_together(before):
    split = split_gold([gold(i, *before) for i in range(80)], GoldOptions(), 0)
    assert {role: len(rows) for role, rows in split.items()} == {
        "grader": 32,
        "judge": 28,
        "heldout": 20,
    }


def test_rows_of_one_first_question_stay_together_whatever_the_system_turn():
    rows = [gold(i, *([SYSTEM] * (i % 2)), asked=f"Question {i // 4}") for i in range(80)]
    for members in split_gold(rows, GoldOptions(), 0).values():
        numbers = {int(row.id[1:]) for row in members}
        assert all({i ^ 1, i ^ 2} <= numbers for i in numbers)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"true": ("apologie",)}, "no proposition 'apologie'; did you mean 'apology'"),
        ({"response_type": "comply_"}, "no response type 'comply_'; did you mean 'comply'"),
    ],
)
def test_labels_of_another_policy_are_named_with_their_line(tmp_path, rules, fields, said):
    path = tmp_path / "a.jsonl"
    # At work: contradictions are for the check.
    write_rows(path, [gold(0, true=("fully_complies", "inability_to_comply"))])
    assert len(labelled_rows(path, rules)) == 1
    write_rows(path, [gold(0), gold(1, **fields)])
    with pytest.raises(DataError, match=rf"a\.jsonl:2: .*{said}"):
        labelled_rows(path, rules)
