"""The report: what it shows, and that a model's text is no markup."""

import math
import re
from dataclasses import replace

import pytest

from pipeline.release.comparison_table import ATTACK_TITLES, TITLES, TYPE_TITLES
from pipeline.release.differences import COMPARED
from pipeline.release.examples import choose
from pipeline.release.report import Model, build, parts
from rbr.errors import DataError
from rbr.evaluation.behaviour import TYPE_METRICS
from rbr.evaluation.metrics import METRICS
from rbr.reward.rule_based_reward import Explanation


def row(prompt_id, completion, response_type="hard_refusal", label="ideal", refused=True):
    return {
        "prompt_id": prompt_id,
        "category": "hate",
        "response_type": response_type,
        "prompt": f"prompt {prompt_id}",
        "completion": completion,
        "disallowed": False,
        "refused": refused,
        "completion_class": label,
        "quality": "best" if label == "ideal" else "other",
        "over_refusal": response_type == "comply",
        "propositions": ["apology"],
    }


ROWS = {
    "base": [row("a", "no"), row("b", "<script>alert(1)</script>"), row("c", "yes", "comply")],
    "RBR PPO": [row("a", "no"), row("b", "", label="bad"), row("c", "yes", "comply")],
}


def explain(prompt, completion, response_type):
    terms = {f"f{i}": (1.0, float(i - 4), float(i - 4)) for i in range(8)}
    return Explanation(response_type, 0.5, terms, 0.5 + sum(i - 4 for i in range(8)))


def table():
    rows = [{"model": name, **dict.fromkeys(METRICS, (0.5, 0.25, 0.75))} for name in ROWS]
    types = [
        {
            "response_type": "hard_refusal",
            "prompts": 2,
            "rows": [
                {"model": name, **dict.fromkeys(TYPE_METRICS, (0.75, 0.5, 1.0))} for name in ROWS
            ],
        }
    ]
    return {
        "rows": rows,
        "metrics": list(METRICS),
        "titles": TITLES,
        "notes": ["a <note>"],
        "types": types,
        "type_metrics": list(TYPE_METRICS),
        "type_titles": TYPE_TITLES,
        "external": [
            {
                "set": "theirs",
                "prompts": 7,
                "metrics": ["not_unsafe"],
                "note": "not <known>",
                "rows": [{"model": name, "not_unsafe": (0.125, 0.0, 0.25)} for name in ROWS],
            }
        ],
    }


def test_the_prompts_that_models_differ_on_come_first_and_each_type_has_its_own():
    chosen = choose(ROWS, per_type=1)
    assert [example.prompt for example in chosen] == ["prompt c", "prompt b"]
    assert set(chosen[1].answers) == set(ROWS)


def test_models_on_other_prompts_are_refused():
    with pytest.raises(DataError, match="different prompts"):
        choose({"one": ROWS["base"], "other": ROWS["base"][:1]})


def test_the_parts_shown_sum_to_the_reward():
    explanation = explain("q", "a", "comply")
    shown = parts(explanation)
    assert len(shown) == 7
    assert math.fsum(value for _, value in shown) == pytest.approx(explanation.reward)


@pytest.fixture
def models():
    return {
        name: Model(
            {
                "classes": {"hard_refusal": {"ideal": 1.0}},
                "confusion": {"hard_refusal": {"hard_refusal": 0.75, "none": 0.25}},
            },
            rows,
        )
        for name, rows in ROWS.items()
    }


def test_the_page_has_the_reasons_of_graders_that_give_them(models):
    def reasoned(prompt, completion, response_type):
        reasons = {"apology": f"it says <{completion}>"}
        return replace(explain(prompt, completion, response_type), reasons=reasons)

    pages = [
        build(table(), models, {}, choose(ROWS), grader, {"rules": "abc"})
        for grader in (explain, reasoned)
    ]
    assert "Why the grader says so" not in pages[0]
    assert pages[1].count("Why the grader says so") == 6
    assert "<li>apology: it says &lt;no&gt;</li>" in pages[1]


def test_the_page_holds_all_and_escapes_what_models_wrote(models):
    page = build(table(), models, {"A plot": b"png"}, choose(ROWS), explain, {"rules": "abc"})
    assert "Under attack" not in page
    form = {"form": "many_shot", "unsafe": 8, "safe": 7}
    form["rows"] = [
        {"model": name, **dict.fromkeys(ATTACK_TITLES, (0.125, 0, 0.5))} for name in ROWS
    ]
    attacks = {"attacks": [form], "attack_titles": ATTACK_TITLES}
    under = build(table() | attacks, models, {}, choose(ROWS), explain, {"rules": "abc"})
    assert "many_shot <small>8 unsafe, 7 safe prompts</small>" in under
    assert under.count('<td class="n">12.5 <small>[0, 50]</small></td>') == 2 * len(ROWS)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "a &lt;note&gt;" in page
    assert "data:image/png;base64,cG5n" in page
    assert "(empty)" in page
    # Nothing is loaded from elsewhere.
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count('class="answer ') == 6
    assert "gave hard_refusal" in page
    assert "<h3>theirs <small>7 prompts</small></h3>" in page
    assert page.count('<td class="n">12.5 <small>[0, 25]</small></td>') == len(ROWS)
    assert "not &lt;known&gt;" in page
    assert page.count('<td class="n">25 %</td>') == len(ROWS)


def test_the_page_shows_differences_with_what_the_prompts_can_tell():
    gap = {"value": 0.1, "low": 0.05, "high": 0.15, "p_value": 0.01, "p_holm": 0.03}
    differences = {
        "main": "RBR PPO",
        "differences": [{"model": "base", **dict.fromkeys(COMPARED, gap)}],
        "difference_notes": ["power: <so much>"],
    }
    models = {
        name: Model({"classes": {}, "confusion": {"hard_refusal": {}}}, ROWS[name]) for name in ROWS
    }
    page = build({**table(), **differences}, models, {}, [], explain, {})
    assert page.count("+10.0 [+5.0, +15.0], p 0.03") == len(COMPARED)
    assert "power: &lt;so much&gt;" in page
