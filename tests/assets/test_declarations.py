"""The declarations of the artifacts, and the graph that they make."""

import importlib
import inspect
from itertools import combinations

import pytest

from assets import declarations, graph
from pipeline.profile import Settings
from pipeline.variants import MAIN, VARIANTS
from rbr.rules.compiled import compiled

CHOICES = [names for n in range(1, 5) for names in combinations(VARIANTS, n) if MAIN.name in names]


@pytest.mark.parametrize("variants", CHOICES, ids=",".join)
def test_inputs_come_first_and_are_there_whatever_the_variants(variants):
    seen = set()
    for key, artifact in graph(variants).items():
        assert set(artifact.inputs) <= seen, key
        assert len(set(artifact.inputs)) == len(artifact.inputs), key
        seen.add(key)


def test_all_that_an_artifact_names_exists(root, rules):
    sections = set(compiled(rules, "head"))
    for key, artifact in graph(tuple(VARIANTS)).items():
        for source in artifact.sources:
            assert (root / source).exists(), (key, source)
        assert set(artifact.settings) <= set(Settings.model_fields), key
        assert set(artifact.rules) <= sections, key
        assert bool(artifact.rules) <= ("rules" in artifact.inputs), key


def test_each_module_declares_the_artifact_of_its_name_and_describes_it(root):
    modules = {path.stem for path in (root / "assets").glob("*.py")} - {"__init__"}
    assert {declared.name for declared in declarations()} == modules
    for declared in declarations():
        module = importlib.import_module(f"assets.{declared.name}")
        assert declared.body.__module__ == module.__name__
        assert inspect.getdoc(module)
        assert inspect.getdoc(declared.body)


def test_only_models_and_the_judges_beside_them_have_no_gate():
    assert {declared.name for declared in declarations() if not declared.expectations} == {
        "base_model",
        "judge_model",
        "grader",  # grader_accuracy has it
    }


def test_an_artifact_of_a_variant_reads_no_other_variants():
    artifacts = graph(tuple(VARIANTS))
    for key, artifact in artifacts.items():
        if artifact.variant:
            read = {artifacts[name].variant for name in artifact.inputs}
            assert read <= {None, artifact.variant}, key
