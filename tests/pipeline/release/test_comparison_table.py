"""The comparison table: of all prompts, and of each response type."""

import json

from pipeline.release.comparison_table import (
    ATTACK_TITLES,
    TITLES,
    attack_note,
    comparison,
    markdown,
)
from pipeline.variants import VARIANTS
from rbr.evaluation.attacks import ATTACK_METRICS, attack_results
from rbr.evaluation.behaviour import type_metrics
from rbr.evaluation.metrics import Verdict

JUDGE = {"refusal_accuracy": 0.9, "disallowed_accuracy": 0.8}


def result(f1_star, given):
    """What an evaluation keeps, read back: keys have lost their order."""
    rows = [
        {"response_type": kind, "quality": "best" if kind == gave else "other", "given": gave}
        for kind, gave in given
    ]
    values = {**dict.fromkeys(TITLES, (0.5, 0.4, 0.6)), "f1_star": (f1_star, 0.0, 1.0)}
    types = type_metrics(rows, ["turn_away", "answer", "ask"], 50)
    found = {"metrics": values, "types": types, "prompts": len(rows)}
    return json.loads(json.dumps(found, sort_keys=True))


def under_attack(success):
    """Four unsafe and two safe prompts, of which attacks reach some."""
    rows = [verdict(i < success, over_refusal=False) for i in range(4)]
    rows += [verdict(False, over_refusal=True, refused=i == 0) for i in range(2)]
    forms = ["role_play", "many_shot"] * 3
    return json.loads(json.dumps(attack_results(rows, forms)))


def verdict(disallowed, over_refusal, refused=False):
    return Verdict("answer", over_refusal, disallowed, refused, "c", "other")


def table(attacks=None):
    good = result(
        0.9, [("turn_away", "turn_away"), ("turn_away", "turn_away"), ("answer", "answer")]
    )
    poor = result(0.6, [("turn_away", "turn_away"), ("turn_away", "answer"), ("answer", "none")])
    variant = VARIANTS["rbr"]
    found = {variant: {"sft": poor, "ppo": good}}
    return comparison({"base": poor}, found, JUDGE, ["turn_away", "answer", "ask"], attacks=attacks)


def test_each_response_type_with_prompts_has_a_row_for_each_model_in_the_order_of_the_rules():
    turn_away, answer = table()["types"]
    assert (turn_away["response_type"], turn_away["prompts"]) == ("turn_away", 2)
    assert (answer["response_type"], answer["prompts"]) == ("answer", 1)
    models = ["base", "RBR SFT", "RBR PPO"]
    assert [row["model"] for row in turn_away["rows"]] == models
    assert [row["ideal"][0] for row in turn_away["rows"]] == [0.5, 0.5, 1.0]
    assert [row["wrong_type"][0] for row in turn_away["rows"]] == [0.5, 0.5, 0.0]
    # What is good for no type is not of a wrong one.
    assert [row["wrong_type"][0] for row in answer["rows"]] == [0.0, 0.0, 0.0]
    assert [row["good_enough"][0] for row in answer["rows"]] == [0.0, 0.0, 1.0]


def test_the_model_card_has_a_table_of_each_response_type():
    lines = markdown(table()).splitlines()
    assert lines.index("## turn_away (2 prompts)") < lines.index("## answer (1 prompts)")
    start = lines.index("## turn_away (2 prompts)")
    assert lines[start + 2] == "| model | Ideal | Good enough | Wrong type |"
    assert lines[start + 6].startswith("| RBR PPO | 1.000 [1.000, 1.000] |")
    assert not any(line.startswith("## ask") for line in lines)


def test_models_under_attack_have_two_columns_and_a_table_of_each_form():
    attacks = {"base": under_attack(4), "RBR SFT": under_attack(1), "RBR PPO": under_attack(0)}
    found = table(attacks)
    assert tuple(ATTACK_TITLES) == ATTACK_METRICS
    assert found["metrics"][-2:] == list(ATTACK_METRICS)
    assert [row["attack_success"][0] for row in found["rows"]] == [1, 0.25, 0]
    assert [row["attacked_over_refusal"][0] for row in found["rows"]] == [0.5] * 3
    assert any("4 unsafe and 2 safe" in note and "2 forms" in note for note in found["notes"])
    lines = markdown(found).splitlines()
    assert "| Attack success | Over-refusal under attack |" in lines[0]
    start = lines.index("## Under attack: role_play (2 unsafe, 1 safe prompts)")
    assert lines[start + 4].startswith("| base | 1.000 [0.342, 1.000] | 1.000 [")
    assert lines[start + 5].startswith("| RBR SFT | 0.500 [")


def test_the_judges_accuracy_on_answers_to_attacks_stands_beside_them():
    names = ("judge.refused_accuracy", "judge.disallowed_accuracy")
    ends = {
        f"{name}{end}": v
        for name in names
        for end, v in (("", 0.9), (".low", 0.8), (".high", 0.95))
    }
    note = attack_note(under_attack(1), ends)
    assert note.endswith(
        "right in 90.0% [80, 95] (refusal) and 90.0% [80, 95] (disallowed content)"
    )


def test_without_attack_forms_the_table_has_no_such_columns():
    found = table({})
    assert found["metrics"] == list(TITLES)
    assert "attack" not in markdown(found).lower()
