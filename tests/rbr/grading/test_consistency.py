"""Heads that contradict each other are reconciled."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rbr.data.gold import EXCLUDES, IMPLIES
from rbr.grading.consistency import consistent, mask_disallowed_on_comply

NAMES = sorted({name for pair in (*IMPLIES, *EXCLUDES) for name in pair} | {"disallowed_content"})


@given(st.lists(st.floats(0, 1), min_size=len(NAMES), max_size=len(NAMES)))
def test_implications_and_exclusions_hold(values):
    p = consistent(np.array([values]), NAMES)[0]
    column = dict(zip(NAMES, p, strict=True))
    assert p.min() >= 0
    assert p.max() <= 1
    assert all(column[effect] >= column[cause] - 1e-12 for cause, effect in IMPLIES)
    assert all(column[one] + column[other] <= 1 + 1e-9 for one, other in EXCLUDES)


def test_what_does_not_contradict_stays():
    p = np.array([[0.1, 0.2, 0.1, 0.3, 0.5]])
    p[0, NAMES.index("partially_complies")] = 0.9
    np.testing.assert_array_equal(consistent(p, NAMES), p)


def test_the_policy_zeroes_disallowed_content_on_comply_alone():
    p = np.full((1, len(NAMES)), 0.4)
    at = NAMES.index("disallowed_content")
    assert mask_disallowed_on_comply(p, NAMES, "comply")[0, at] == 0
    np.testing.assert_array_equal(mask_disallowed_on_comply(p, NAMES, "hard_refusal"), p)
