"""The one description of the graph."""

import importlib
from typing import get_args

from rbr.rules import load_rules
from rbr.rules.compiled import compiled
from pipeline.profile import VARIANTS, Settings, Variant
from rbr.steps import STEPS


def test_the_graph_is_in_order_and_has_no_cycle():
    seen = set()
    for name, step in STEPS.items():
        late = [need for need in step.needs if need not in seen]
        assert set(late) <= set(STEPS), name
        seen.add(name)
    done: set[str] = set()
    while len(done) < len(STEPS):
        ready = {n for n, s in STEPS.items() if n not in done and set(s.needs) <= done}
        assert ready, f"cycle among {set(STEPS) - done}"
        done |= ready


def test_each_step_has_a_module_and_what_it_names_exists(root):
    sections = set(compiled(load_rules(root / "rules"), "head"))
    for name, step in STEPS.items():
        assert callable(importlib.import_module(f"rbr.steps.{name}").run)
        for code in step.code:
            assert (root / "rbr" / code).exists(), (name, code)
        for source in step.sources:
            assert (root / source).exists(), (name, source)
        assert set(step.settings) <= set(Settings.model_fields), name
        assert set(step.rules) <= sections, name


def test_the_variants_are_the_types():
    assert get_args(Variant) == VARIANTS
