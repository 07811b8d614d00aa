"""Grades that contradict each other are moved as little as possible, whatever the engine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from rbr.grading.consistency import ConsistentGrader, consistent, decisions
from rbr.rules.models import Relations

NAMES = tuple("abcdef")
pair = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda p: p[0] < p[1])
pairs = st.lists(pair, max_size=5, unique=True)
rows = st.lists(st.lists(st.floats(0, 1), min_size=6, max_size=6), min_size=1, max_size=4)


def relations_of(implies, excludes):
    grouped = {cause: tuple(e for c, e in implies if c == cause) for cause, _ in implies}
    # What could never hold is no relation that rules may state: without it.
    return Relations.model_construct(implies=grouped, excludes=tuple(excludes))


def violation(p, relations):
    column = dict(zip(NAMES, p.T, strict=True))
    worst = [0.0, -p.min(), p.max() - 1]
    for cause, effects in relations.implies.items():
        worst += [(column[cause] - column[effect]).max() for effect in effects]
    worst += [(column[a] + column[b] - 1).max() for a, b in relations.excludes]
    return max(worst)


@settings(max_examples=60, deadline=None)
@given(rows, pairs, pairs, st.randoms())
def test_it_is_a_projection_that_no_order_changes(values, implies, excludes, shuffler):
    relations, p = relations_of(implies, excludes), np.array(values)
    found = consistent(p, NAMES, relations)
    assert violation(found, relations) < 1e-6
    np.testing.assert_allclose(consistent(found, NAMES, relations), found, atol=1e-6)
    shuffler.shuffle(implies)
    shuffler.shuffle(excludes)
    other = relations_of(implies, [(b, a) for a, b in excludes])
    np.testing.assert_allclose(consistent(p, NAMES, other), found, atol=1e-6)
    if violation(p, relations) <= 0:
        np.testing.assert_array_equal(found, p)


def test_it_is_the_nearest_one():
    relations = relations_of([("a", "b"), ("b", "c")], [("a", "d"), ("c", "e")])
    p = np.random.default_rng(0).random((5, 6))
    for row, found in zip(p, consistent(p, NAMES, relations), strict=True):
        bounds = [
            {"type": "ineq", "fun": lambda x, a=a, b=b, s=s, c=c: c - x[a] - s * x[b]}
            for a, b, s, c in [(0, 1, -1, 0), (1, 2, -1, 0), (0, 3, 1, 1), (2, 4, 1, 1)]
        ]
        nearest = minimize(
            lambda x, row=row: ((x - row) ** 2).sum(),
            row,
            bounds=[(0, 1)] * 6,
            constraints=bounds,
            options={"ftol": 1e-14},
        )
        np.testing.assert_allclose(found, nearest.x, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(rows, pairs, pairs)
def test_decisions_never_contradict(values, implies, excludes):
    relations = relations_of(implies, excludes)
    for row in decisions(np.array(values), np.full(6, 0.5), NAMES, relations):
        true = [name for name, yes in zip(NAMES, row, strict=True) if yes]
        assert relations.contradiction(true) is None


def test_the_surest_decision_comes_first_with_what_it_implies():
    relations = relations_of([("a", "b")], [("b", "c")])
    p, thresholds = np.array([[0.9, 0.1, 0.6, 0.4, 0.3, 0.5]]), np.full(6, 0.5)
    assert decisions(p, thresholds, NAMES, relations).tolist() == [[1, 1, 0, 0, 0, 1]]
    p[0, 2] = 0.95
    assert decisions(p, thresholds, NAMES, relations).tolist() == [[0, 0, 1, 0, 0, 1]]


class Fixed:
    """Grades that contradict each other, by name."""

    propositions = NAMES
    thresholds = np.full(6, 0.5)
    asked: tuple[str, ...] = ()

    def identity(self, proposition):
        return "fixed"

    def grade(self, conversations, completions, progress=None, propositions=None):
        self.asked = tuple(self.propositions if propositions is None else propositions)
        value = {"a": 0.8, "b": 0.4, "c": 0.9, "d": 0.1, "e": 0.2, "f": 0.3}
        return np.array([[value[name] for name in self.asked]] * len(completions))


@pytest.mark.parametrize("names", [("b",), ("f", "a"), ("d", "e"), NAMES])
def test_a_part_of_the_propositions_gets_the_grades_of_all(names):
    relations, inner = relations_of([("a", "b")], [("b", "c")]), Fixed()
    grader = ConsistentGrader(inner, relations)
    whole = grader.grade(["q"], ["x"])
    found = grader.grade(["q"], ["x"], propositions=names)
    np.testing.assert_allclose(found[0], [whole[0, NAMES.index(name)] for name in names])
    assert set(inner.asked) == set(names) | ({"a", "b", "c"} if set(names) & set("abc") else set())
