"""Cohen's kappa by hand."""

import pytest

from rbr.data.rows import Labelled, Message
from rbr.data.splits import known_prompts
from rbr.data.stats import agreement
from rbr.errors import DataError
from rbr.files import write_rows


def row(number, *true):
    talk = (Message(role="user", content="q"),)
    return Labelled(
        id=f"r{number}", response_type="comply", conversation=talk, completion="a", true=true
    )


def kappa(one, other):
    """Of two labellings of the same rows with one proposition."""
    rows = (
        [row(i, *(["apology"] if yes else [])) for i, yes in enumerate(own)] for own in (one, other)
    )
    return agreement(*rows, ["apology"])[0]["kappa"]


def test_kappa_is_the_agreement_above_chance():
    # 20 both yes, 15 both no, 5 and 10 differ: 0.7 observed, 0.5 by chance.
    one = [True] * 25 + [False] * 25
    other = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    assert kappa(one, other) == pytest.approx(0.4)
    assert kappa(one, [True] * 50) == pytest.approx(0)


def test_full_agreement_on_one_label_is_one_and_opposites_are_below_zero():
    assert kappa([True] * 4, [True] * 4) == 1
    assert kappa([True, False], [False, True]) == -1


def test_only_rows_of_both_count():
    one = [row(1, "apology"), row(2), row(3, "apology")]
    other = [row(2, "apology"), row(1, "apology"), row(9)]
    [found] = agreement(one, other, ["apology"])
    assert (found["rows"], found["agreement"]) == (2, 0.5)
    with pytest.raises(DataError, match="in common"):
        agreement(one, [row(9)], ["apology"])


@pytest.mark.parametrize(("name", "value"), [("category", "erotik"), ("kind", "odd")])
def test_a_prompt_that_the_policy_does_not_know_is_named_with_its_line(
    root, rules, tmp_path, name, value
):
    first, second = known_prompts(root / "data/source/safety_prompts", rules)[:2]
    write_rows(tmp_path / "p.jsonl", [first, second.model_copy(update={name: value})])
    with pytest.raises(DataError, match=rf"p\.jsonl:2: .*'{value}'.*content_policy"):
        known_prompts(tmp_path, rules)
