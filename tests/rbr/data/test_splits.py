"""Splits keep families whole."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from rbr.data.splits import near_duplicates, split_by_family

FRACTIONS = {"train": 0.6, "validation": 0.1, "eval": 0.3}


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab")), max_size=80), st.integers(0, 5)
)
def test_no_row_is_lost_and_no_family_is_cut(rows, seed):
    parts = split_by_family(rows, lambda r: str(r[0]), lambda r: "all", FRACTIONS, seed)
    assert sorted(row for part in parts.values() for row in part) == sorted(rows)
    where = defaultdict(set)
    for name, part in parts.items():
        for family, _ in part:
            where[family].add(name)
    assert all(len(names) == 1 for names in where.values())


def test_the_order_of_rows_does_not_matter_but_the_seed_does():
    rows = [(i // 2, "x") for i in range(100)]

    def train(given, seed):
        parts = split_by_family(given, lambda r: str(r[0]), lambda r: r[1], FRACTIONS, seed)
        return {r[0] for r in parts["train"]}

    assert train(rows, 0) == train(rows[::-1], 0)
    assert train(rows, 0) != train(rows, 1)
    assert len(train(rows, 0)) == 30


def test_near_duplicates_are_found_whatever_the_case():
    found = near_duplicates(
        ["How do I kill a Python process?", "What is rice?"],
        ["how do i kill a python process", "Who is she?"],
    )
    assert [(i, j) for i, j, _ in found] == [(0, 0)]
