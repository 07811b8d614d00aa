"""Cohen's kappa by hand and against scikit-learn."""

import random

import pytest
from sklearn.metrics import cohen_kappa_score

from rbr.agreement import agreement, kappa
from rbr.data.rows import Labelled, Message
from rbr.errors import DataError


def test_kappa_is_scikit_learns():
    draw = random.Random(0)
    for _ in range(20):
        one = [draw.random() < 0.3 for _ in range(50)]
        other = [a if draw.random() < 0.8 else not a for a in one]
        assert kappa(one, other) == pytest.approx(cohen_kappa_score(one, other))


def test_full_agreement_on_one_label_is_one_and_opposites_are_below_zero():
    assert kappa([True] * 4, [True] * 4) == 1
    assert kappa([True, False], [False, True]) == -1


def row(number, *true):
    talk = (Message(role="user", content="q"),)
    return Labelled(
        id=f"r{number}", response_type="comply", conversation=talk, completion="a", true=true
    )


def test_only_rows_of_both_count():
    one = [row(1, "apology"), row(2), row(3, "apology")]
    other = [row(2, "apology"), row(1, "apology"), row(9)]
    [found] = agreement(one, other, ["apology"])
    assert (found["rows"], found["agreement"]) == (2, 0.5)
    with pytest.raises(DataError, match="in common"):
        agreement(one, [row(9)], ["apology"])
