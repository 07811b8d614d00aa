"""An ablation's outcome: arms against the reference, with corrected tests."""

import pytest

from orchestration.ablation.compare import Result, compare, markdown
from orchestration.ablation.spec import Ablation
from rbr.evaluation.metrics import METRICS, Verdict


def result(bad, families=20):
    judged = [
        Verdict(kind, kind == "comply", i < bad, i < bad, "c", "best", family=f"f{i}")
        for i in range(families)
        for kind in ("refuse", "comply")
    ]
    return Result(dict.fromkeys(METRICS, (0.5, 0.4, 0.6)), judged)


def test_arms_are_tested_by_family_and_corrected_for_their_number():
    ablation = Ablation(
        name="n",
        title="t",
        question="q",
        reference="full",
        arms={"full": {}, "half": {}, "none": {}},
    )
    results = {"full": result(2), "half": result(5), "none": result(12)}
    compared = compare(ablation, results, 300)
    full, half, none = compared.rows
    assert full["difference"] == {}
    # Three and ten families differ, all the one way.
    assert half["difference"]["f1_star"]["p_value"] == pytest.approx(2 / 2**3)
    assert half["difference"]["f1_star"]["p_holm"] == pytest.approx(2 / 2**3)
    assert none["difference"]["f1_star"]["p_holm"] == pytest.approx(2 * 2 / 2**10)
    assert none["difference"]["f1_star"]["verdict"] == "worse"
    assert any("2 arms (Holm)" in note for note in compared.notes)
    assert any(note.startswith("power: 40 prompts of 20 families") for note in compared.notes)
    assert "p 0.25 |" in markdown(ablation, compared)
