"""The comparison table: of all prompts, and of each response type."""

import json

from pipeline.release.comparison_table import TITLES, comparison, markdown
from pipeline.variants import VARIANTS
from rbr.evaluation.behaviour import type_metrics

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


def table():
    good = result(
        0.9, [("turn_away", "turn_away"), ("turn_away", "turn_away"), ("answer", "answer")]
    )
    poor = result(0.6, [("turn_away", "turn_away"), ("turn_away", "answer"), ("answer", "none")])
    variant = VARIANTS["rbr"]
    found = {variant: {"sft": poor, "ppo": good}}
    return comparison({"base": poor}, found, JUDGE, ["turn_away", "answer", "ask"])


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
