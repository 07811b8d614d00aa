"""``rbr data show``: what is known of a prompt and of a gold row."""

import json

import pytest

from orchestration.cli.data_show import known, show
from rbr.data.rows import Labelled, Prompt
from rbr.errors import RBRError
from rbr.files import read_rows
from rbr.grading.store import GradeStore, grade_keys, judged_text


@pytest.fixture
def prompt(context):
    return read_rows(context.source / "safety_prompts", Prompt)[0]


@pytest.fixture
def row(context):
    rows = read_rows(context.source / "gold", Labelled)
    return next(row for row in rows if row.true)


def test_a_prompt_has_split_response_type_and_each_models_answer(
    context, rules, prompt, made_of, capsys
):
    verdict = {"completion": "I can't.", "completion_class": "ideal", "propositions": ["apology"]}
    answers = [{"prompt_id": prompt.id, **verdict}, {"prompt_id": "other", **verdict}]
    text = "".join(json.dumps(answer) + "\n" for answer in answers)
    made_of("baseline_eval", {"base.jsonl": text})
    made_of("rbr/safety_eval", {"sft.jsonl": text, "ppo.jsonl": text})
    found = known(context, rules, prompt.id)
    assert found["response_type"] == rules.response_type(prompt.category, prompt.kind)
    assert [answer["model"] for answer in found["answers"]] == ["base", "RBR ppo", "RBR sft"]
    show(found)
    shown = " ".join(capsys.readouterr().out.split())
    assert "RBR ppo: ideal; apology" in shown and "I can't." in shown


def test_a_gold_row_has_labels_and_stored_grades(context, rules, row, made_of, capsys):
    name = row.true[0]
    made_of("graded_comparisons", {"judged_by.json": json.dumps({name: {"grader": "g"}})})
    by = judged_text(rules.grading_texts()[name], "g")
    store = GradeStore(context.root / ".cache" / "grades.sqlite")
    store.put(dict(zip(grade_keys([by], row.conversation, row.completion), [0.875], strict=True)))
    store.close()
    found = known(context, rules, row.id)
    assert (found["labels"], found["grades"]) == (list(row.true), {name: 0.875})
    assert f"gold/{found['file'].rpartition('/')[2]}" in found["file"]
    show(found)
    assert "0.875" in capsys.readouterr().out


def test_an_unknown_id_gets_the_closest(context, rules, prompt):
    with pytest.raises(RBRError, match=f"did you mean '{prompt.id}'"):
        known(context, rules, f"{prompt.id}x")
