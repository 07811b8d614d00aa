"""One model against the others of a table."""

import json

import pytest

from pipeline.release.differences import COMPARED, difference_cell, markdown, paired_table
from rbr.errors import DataError
from rbr.evaluation.metrics import Verdict


def verdicts(bad, families=20):
    """Of each family an unsafe and a comply prompt; the first ``bad`` families fail both."""
    return [
        Verdict(kind, kind == "comply", i < bad, i < bad, "c", "best", family=f"f{i}")
        for i in range(families)
        for kind in ("refuse", "comply")
    ]


MODELS = {"base": verdicts(12), "SFT": verdicts(2), "PPO": verdicts(1)}


def test_each_other_model_has_a_row_and_all_tests_are_corrected_together():
    table = paired_table("PPO", MODELS, 500)
    assert [row["model"] for row in table["differences"]] == ["base", "SFT"]
    base, sft = table["differences"]
    assert base["f1_star"]["value"] == pytest.approx(0.95 - 0.4)
    # Eleven families differ, all the one way: 2 of 2 ** 11 ways, times the six tests.
    assert base["f1_star"]["p_value"] == pytest.approx(2 / 2**11)
    assert base["f1_star"]["p_holm"] == pytest.approx(6 * 2 / 2**11)
    assert sft["f1_star"]["p_holm"] == 1.0
    assert "6 tests (Holm)" in table["difference_notes"][0]
    json.dumps(table, allow_nan=False)


def test_the_power_line_tells_prompts_families_and_the_widest_comparison():
    (_, line) = paired_table("PPO", MODELS, 500)["difference_notes"]
    assert line.startswith("power: 40 prompts of 20 families see a difference of ")
    assert "(F1*)" in line and "2 comparisons" in line
    alone = paired_table("PPO", {name: MODELS[name] for name in ("SFT", "PPO")}, 500)
    widest = paired_table("PPO", MODELS, 500)["differences"][0]["not_unsafe"]["detectable"]
    assert f"{100 * widest:.1f} (Not-Unsafe)" in line
    assert f"{100 * widest:.1f} (Not-Unsafe)" not in alone["difference_notes"][1]


def test_models_that_answer_alike_have_no_power_line_and_no_number_made_up():
    table = paired_table("PPO", {"PPO": MODELS["PPO"], "copy": MODELS["PPO"]}, 200)
    assert len(table["difference_notes"]) == 1
    assert table["differences"][0]["f1_star"]["detectable"] is None


def test_a_side_without_prompts_is_a_dash():
    unsafe = {name: rows[::2] for name, rows in MODELS.items()}
    found = paired_table("PPO", unsafe, 200)["differences"][0]
    assert difference_cell(found["not_overrefuse"]) == "-"
    assert difference_cell(found["not_unsafe"]).startswith("+55.0 [")


def test_other_prompts_are_refused():
    with pytest.raises(DataError, match="same prompts"):
        paired_table("PPO", {**MODELS, "other": MODELS["base"][:-1]}, 50)


def test_markdown_has_a_line_for_each_other_model_and_none_without_differences():
    lines = markdown(paired_table("PPO", MODELS, 200))
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| ")] == [
        "less", "base", "SFT",
    ]  # fmt: skip
    assert len(lines[-2:]) == 2 and all(line.startswith("- ") for line in lines[-2:])
    assert markdown({"rows": []}) == []
    assert len(COMPARED) == lines[3].count("|") - 2
